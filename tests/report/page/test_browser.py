"""The page in headless Chromium, at the width of a phone and of a desktop, on light and dark ground, and on paper."""

import base64
import json
import pathlib
import shutil
from collections.abc import Iterator

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from hearjax.files import write_table
from hearjax.report.page.contents import read_contents
from hearjax.report.page.render import NOTE_SIMULATED, build_sections, render
from tests.report.page import folders

CHROMIUM = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)
CHROMEDRIVER = shutil.which('chromedriver')
OPTIONS = (
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-dev-shm-usage',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
)
PHONE, DESKTOP = 390, 1440
LEAST_CONTRAST = 4.5  # Of text (WCAG AA).
pytestmark = pytest.mark.skipif(
  not (CHROMIUM and CHROMEDRIVER), reason='no Chromium with its chromedriver is here to look at the page with'
)
# Every text that is seen, with its contrast against what lies behind it.
CONTRASTS = """
const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
const luminance = (rgb) => rgb.slice(0, 3)
  .map((part) => part / 255)
  .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
  .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
const behind = (node) => {
  for (let one = node; one; one = one.parentElement) {
    const rgb = parse(getComputedStyle(one).backgroundColor);
    if (rgb.length < 4 || rgb[3] > 0) return rgb;
  }
  return [255, 255, 255];
};
const told = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
for (let text = walker.nextNode(); text; text = walker.nextNode()) {
  const node = text.parentElement;
  const style = getComputedStyle(node);
  const ignored = ['SCRIPT', 'STYLE', 'title'].includes(node.tagName);
  if (ignored || !text.data.trim() || !node.getClientRects().length) continue;
  const colour = node.namespaceURI.endsWith('svg') ? style.fill : style.color;
  const [a, b] = [luminance(parse(colour)), luminance(behind(node))];
  told.push([(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), text.data.trim().slice(0, 40), colour]);
}
return told;
"""


class Browser:
  """Chromium, and what its logs said since the page was opened."""

  def __init__(self, profile: pathlib.Path) -> None:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for option in (*OPTIONS, f'--user-data-dir={profile}'):
      options.add_argument(option)
    options.set_capability('goog:loggingPrefs', {'browser': 'ALL', 'performance': 'ALL'})
    self.driver = webdriver.Chrome(options=options, service=Service(CHROMEDRIVER))

  def open(self, page: pathlib.Path, width: int, scheme: str = 'light') -> webdriver.Chrome:
    screen = {'width': width, 'height': 900, 'deviceScaleFactor': 1, 'mobile': width < 600}
    self.driver.execute_cdp_cmd('Emulation.setDeviceMetricsOverride', screen)
    self.emulate(scheme)
    for kind in ('browser', 'performance'):
      self.driver.get_log(kind)  # Of pages before.
    self.driver.get(page.as_uri())
    return self.driver

  def emulate(self, scheme: str, media: str = '') -> None:
    features = [{'name': 'prefers-color-scheme', 'value': scheme}]
    self.driver.execute_cdp_cmd('Emulation.setEmulatedMedia', {'media': media, 'features': features})

  def requests(self) -> list[str]:
    """Returns the addresses that were asked for."""
    messages = [json.loads(entry['message'])['message'] for entry in self.driver.get_log('performance')]
    sent = [one['params'] for one in messages if one['method'] == 'Network.requestWillBeSent']
    return [one['request']['url'] for one in sent]

  def complaints(self) -> list[str]:
    return [entry['message'] for entry in self.driver.get_log('browser')]


@pytest.fixture(scope='module')
def browser(tmp_path_factory) -> Iterator[Browser]:
  opened = Browser(tmp_path_factory.mktemp('profile'))
  yield opened
  opened.driver.quit()


def write_page(run: pathlib.Path, page: pathlib.Path, other: pathlib.Path | None = None) -> pathlib.Path:
  contents, second = read_contents(run), read_contents(other) if other else None
  page.write_text(render(contents, build_sections(contents, second), second), encoding='utf-8')
  return page


@pytest.fixture(scope='module')
def pages(tmp_path_factory) -> dict[str, pathlib.Path]:
  """A whole run, one beside another, and one of which hardly anything is there, whose names are long and hostile."""
  folder = tmp_path_factory.mktemp('pages')
  run = folders.write_whole_run(folder / 'run', width=1400)
  hostile = folders.HOSTILE + 'x' * 200
  little = folder / ('run_' * 30)
  table = folders.table_of('skill', 'abc', hostile)
  table['model'] = [hostile] * len(table)
  write_table(little / 'skill.ecsv', table)
  (little / 'config.json').write_text('{"settings": {"' + 'y' * 150 + '": "' + 'z' * 300 + '"}}')
  return {
    'whole': write_page(run, folder / 'whole.html'),
    'beside': write_page(run, folder / 'beside.html', little),
    'little': write_page(little, folder / 'little.html'),
  }


# --- What no page may do --------------------------------------------------------------------------------------------


@pytest.mark.parametrize('width', [PHONE, DESKTOP])
@pytest.mark.parametrize('name', ['whole', 'beside', 'little'])
def test_a_page_asks_for_nothing_and_complains_of_nothing(browser, pages, name, width):
  driver = browser.open(pages[name], width)
  asked = [address for address in browser.requests() if not address.startswith('data:')]
  assert asked == [pages[name].as_uri()]
  assert browser.complaints() == []
  assert driver.execute_script('return window.hacked') is None
  page = driver.find_element(By.TAG_NAME, 'html')
  assert page.get_property('scrollWidth') == page.get_property('clientWidth')
  assert driver.execute_script('return window.innerWidth') == width  # A phone would zoom out for what is wider.
  silent = """
    return [...document.querySelectorAll('img, svg')].filter((one) => !(one.alt || one.getAttribute('aria-label')
      || one.getAttribute('aria-hidden') === 'true' || one.closest('[aria-hidden="true"]'))).length
  """
  assert driver.execute_script(silent) == 0
  assert driver.execute_script('return [...document.images].every((one) => one.complete && one.naturalWidth > 0)')


@pytest.mark.parametrize('scheme', ['light', 'dark'])
@pytest.mark.parametrize('name', ['whole', 'beside'])
def test_text_stands_out_on_either_ground(browser, pages, name, scheme):
  driver = browser.open(pages[name], DESKTOP, scheme)
  driver.execute_script("for (const one of document.querySelectorAll('details')) one.open = true")
  ground = driver.execute_script('return getComputedStyle(document.body).backgroundColor')
  assert ground == {'light': 'rgb(255, 255, 255)', 'dark': 'rgb(20, 24, 29)'}[scheme]
  found = driver.execute_script(CONTRASTS)
  assert len(found) > 200
  assert [one for one in found if one[0] < LEAST_CONTRAST] == []


# --- What a reader does ---------------------------------------------------------------------------------------------


def column(driver, table: str, number: int) -> list[str]:
  cells = driver.find_elements(By.CSS_SELECTOR, f'{table} tbody td:nth-child({number})')
  return [cell.get_attribute('textContent') for cell in cells]


def test_tables_sort_by_click_and_by_key(browser, pages):
  driver = browser.open(pages['whole'], DESKTOP)
  table = '#skill figure + h3 + .scroll table'
  (head, by_model) = driver.find_elements(By.CSS_SELECTOR, f'{table} th')[:2]  # Of the first table.
  hours = column(driver, table, 1)
  assert hours == ['\N{MINUS SIGN}24.3', '\N{MINUS SIGN}2.9', 'mean before emergence']
  driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", head)
  head.find_element(By.TAG_NAME, 'button').click()
  assert head.get_attribute('aria-sort') == 'ascending' and column(driver, table, 1) == hours
  head.find_element(By.TAG_NAME, 'button').send_keys(Keys.ENTER)
  assert head.get_attribute('aria-sort') == 'descending' and column(driver, table, 1) == hours[::-1]
  by_model.find_element(By.TAG_NAME, 'button').send_keys(Keys.SPACE)
  assert (head.get_attribute('aria-sort'), by_model.get_attribute('aria-sort')) == ('none', 'ascending')
  values = [one.replace('\N{MINUS SIGN}', '-').partition(' ')[0] for one in column(driver, table, 2)]
  assert [float(one) for one in values] == sorted(float(one) for one in values)


def test_what_is_no_number_comes_last_in_either_order(browser, pages):
  driver = browser.open(pages['whole'], DESKTOP)
  (number,) = (
    place
    for place, head in enumerate(driver.find_elements(By.CSS_SELECTOR, '#findings th'))
    if head.text.startswith('Untrained')
  )
  button = driver.find_elements(By.CSS_SELECTOR, '#findings th button')[number]
  orders = []
  for _ in range(2):
    button.send_keys(Keys.ENTER)
    orders.append(column(driver, '#findings table', number + 1))
  assert orders[0][:2] == orders[1][1::-1] and all(orders[0][:2]) and orders[0][2] == orders[1][2] == ''


def test_words_sort_as_words(browser, pages):
  driver = browser.open(pages['whole'], DESKTOP)
  head = driver.find_elements(By.CSS_SELECTOR, '#findings th')[1]
  head.find_element(By.TAG_NAME, 'button').send_keys(Keys.ENTER)
  first = [one.split('reason')[0] for one in column(driver, '#findings table', 2)]
  assert first == ['cannot tell', 'contradicted', 'supported']


@pytest.mark.parametrize('width', [PHONE, DESKTOP])
def test_marks_tell_their_numbers(browser, pages, width):
  driver = browser.open(pages['whole'], width)
  figure = driver.find_element(By.CSS_SELECTOR, '#training figure.told')
  told = figure.find_element(By.CSS_SELECTOR, '.tells')
  marks = figure.find_elements(By.CSS_SELECTOR, '.series:nth-of-type(2) .mark, .series .mark')
  first = marks[0]
  first.send_keys(Keys.ARROW_RIGHT)  # Focused by it.
  second = driver.switch_to.active_element
  assert second != first and told.text == second.get_attribute('aria-label') and 'epoch 2' in told.text
  second.send_keys(Keys.ARROW_DOWN)
  other = driver.switch_to.active_element
  assert other.find_element(By.XPATH, '..') != second.find_element(By.XPATH, '..') and 'epoch 2' in told.text
  # Near the last mark, and not upon it.
  last = marks[-1]
  driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", figure.find_element(By.TAG_NAME, 'svg'))
  box = last.find_element(By.TAG_NAME, 'circle').rect
  scrolled = driver.execute_script('return window.scrollY')
  place = {'x': box['x'] + box['width'] / 2 - 3, 'y': box['y'] + box['height'] / 2 - scrolled + 3}
  driver.execute_cdp_cmd('Input.dispatchMouseEvent', {'type': 'mouseMoved', **place})
  told_at_pointer = figure.find_element(By.CSS_SELECTOR, '.mark.told').get_attribute('aria-label')
  assert told.text == told_at_pointer and 'epoch 4' in told.text


def test_it_is_reached_by_keys_from_the_top(browser, pages):
  driver = browser.open(pages['whole'], DESKTOP)
  driver.find_element(By.TAG_NAME, 'body').send_keys(Keys.TAB)
  skip = driver.switch_to.active_element
  assert skip.text == 'To the verdict' and skip.rect['x'] >= 0
  skip.send_keys(Keys.ENTER)
  assert driver.current_url.endswith('#verdict')


# --- Paper ----------------------------------------------------------------------------------------------------------


def test_on_paper_it_is_light_whatever_the_screen_is(browser, pages):
  driver = browser.open(pages['whole'], DESKTOP, 'dark')
  browser.emulate('dark', media='print')
  seen = """
    const style = (query) => getComputedStyle(document.querySelector(query));
    return [style('body').backgroundColor, style('nav').display, style('.tells').display, style('.headline').position];
  """
  assert driver.execute_script(seen) == ['rgb(255, 255, 255)', 'none', 'none', 'static']
  found = driver.execute_script(CONTRASTS)
  assert [one for one in found if one[0] < LEAST_CONTRAST] == []
  wide = [
    box
    for box in driver.execute_script(
      "return [...document.querySelectorAll('section > *')].map((one) => one.scrollWidth - one.clientWidth)"
    )
    if box > 1
  ]
  assert wide == []
  browser.emulate('light')
  paper = driver.execute_cdp_cmd('Page.printToPDF', {'paperWidth': 8.27, 'paperHeight': 11.69, 'printBackground': True})
  content = base64.b64decode(paper['data'])
  assert content.startswith(b'%PDF') and content.count(b'/Type /Page\n') > 5


def test_the_mark_of_a_simulation_stays_in_sight(browser, pages):
  driver = browser.open(pages['whole'], PHONE)
  driver.execute_script('window.scrollTo(0, document.body.scrollHeight / 2)')
  headline = driver.find_element(By.CSS_SELECTOR, '.headline')
  assert headline.text == NOTE_SIMULATED
  assert driver.execute_script('return arguments[0].getBoundingClientRect().top', headline) == pytest.approx(0, abs=1)
