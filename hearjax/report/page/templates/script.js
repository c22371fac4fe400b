'use strict';

// --- Tables sort by a click on a column: numbers as numbers, what is no number last ----------------------------------

function keyOf(row, column) {
  const key = row.cells[column].dataset.key;
  return key === '' ? NaN : Number(key);
}

function compare(a, b, column, isNumeric) {
  if (!isNumeric) {
    return a.cells[column].dataset.key.localeCompare(b.cells[column].dataset.key);
  }
  return keyOf(a, column) - keyOf(b, column);
}

function sortTable(header) {
  const table = header.closest('table');
  const column = header.cellIndex;
  const descending = header.getAttribute('aria-sort') === 'ascending';
  for (const other of header.parentNode.cells) {
    other.setAttribute('aria-sort', 'none');
  }
  header.setAttribute('aria-sort', descending ? 'descending' : 'ascending');
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const isNumeric = rows.some((row) => !Number.isNaN(keyOf(row, column)));
  const last = (row) => isNumeric && Number.isNaN(keyOf(row, column));
  rows.sort((a, b) => {
    if (last(a) || last(b)) {
      return last(a) - last(b);
    }
    return compare(a, b, column, isNumeric) * (descending ? -1 : 1);
  });
  body.append(...rows);
}

for (const button of document.querySelectorAll('th button')) {
  button.addEventListener('click', () => sortTable(button.closest('th')));
}

// --- Marks of charts tell their numbers beneath: under the pointer, touched, or reached by keys ------------------------

const NEAR = 40; // How far from a mark one may point, in pixels of the screen.

function tell(figure, mark) {
  for (const other of figure.querySelectorAll('.mark.told')) {
    other.classList.remove('told');
  }
  mark.classList.add('told');
  figure.querySelector('.tells').textContent = mark.getAttribute('aria-label');
}

function nearest(chart, x, y) {
  let found = null;
  let least = NEAR;
  for (const mark of chart.querySelectorAll('.mark')) {
    const box = mark.querySelector('circle').getBoundingClientRect();
    const distance = Math.hypot(box.x + box.width / 2 - x, box.y + box.height / 2 - y);
    if (distance < least) {
      [found, least] = [mark, distance];
    }
  }
  return found;
}

function step(mark, key) {
  const series = mark.parentNode;
  const marks = Array.from(series.querySelectorAll('.mark'));
  const place = marks.indexOf(mark);
  if (key === 'ArrowRight' || key === 'ArrowLeft') {
    return marks[place + (key === 'ArrowRight' ? 1 : -1)];
  }
  const others = Array.from(series.parentNode.querySelectorAll('.series'));
  const other = others[others.indexOf(series) + (key === 'ArrowDown' ? 1 : -1)];
  return other && other.querySelectorAll('.mark')[Math.min(place, other.querySelectorAll('.mark').length - 1)];
}

for (const figure of document.querySelectorAll('figure.told')) {
  const chart = figure.querySelector('.chart');
  const point = (event) => {
    const mark = nearest(chart, event.clientX, event.clientY);
    if (mark) {
      tell(figure, mark);
    }
  };
  chart.addEventListener('pointermove', point);
  chart.addEventListener('pointerdown', point);
  chart.addEventListener('focusin', (event) => tell(figure, event.target.closest('.mark')));
  chart.addEventListener('keydown', (event) => {
    const mark = event.target.closest('.mark');
    const next = mark && event.key.startsWith('Arrow') && step(mark, event.key);
    if (next) {
      event.preventDefault();
      next.focus();
    }
  });
}
