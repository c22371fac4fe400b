"""When a region is first warned of: how many emerging regions have had an alarm so long before, and how many others.

The TSS at a lead time looks at one forecast. Someone who watches a region sees all of them, up to then: there are more
alarms, right and false ones. Two kinds are told apart, `any` alarm so far, and the alarm that is `kept`, since every
later forecast before emergence repeats it. That one is known afterwards only; it tells of steady forecasts.
"""

import numpy as np
from astropy import units as u
from astropy.table import Table

from hearjax.checks import UserError
from hearjax.verification.base_rates import check_classes, largest_unseen
from hearjax.verification.calibration import EACH, forecast
from hearjax.verification.predictions import interval_hours
from hearjax.verification.resampling import confidence_interval, draw_rows

CLASSES = {'ear': 1, 'cr': 0}


def first_alarm_table(averaged: Table, resamples: int, seed: int, rule: str = EACH) -> Table:
  """Tells what share of the regions have had their first alarm by each interval before emergence.

  A region that lacks intervals is judged by those it has: it counts from the first interval on, has no alarm where it
  has no forecast, and keeps its alarm from one forecast to its next.

  Args:
    averaged: What `calibrate` returns for the model.
    resamples, seed: Of the bootstrap of the pairs.
    rule: Which threshold, one of `calibration.RULES`.

  Returns:
    A row for each kind of `alarm`, `any` or `kept`, and interval with hours < 0. `ear` and `cr` are the shares of the
    `n_ear` EARs and `n_cr` CRs that had such an alarm at this interval or before, with their 95 % intervals over pairs,
    as far as `largest_unseen` where none or all had; `n_ear_seen` and `n_cr_seen` are how many had been forecast at all
    by then.

  Raises:
    UserError: No row lies before emergence, there is one class only, no such rule, or there is to be no sample.
  """
  before = averaged[np.asarray(averaged['hours']) < 0]
  if not len(before):
    raise UserError(f'{averaged.meta["model"]} has no forecast before emergence (hours < 0): no alarm comes in time.')
  check_classes(before)
  intervals, place = np.unique(before['interval'], return_inverse=True)
  hours = interval_hours(before)
  _, first, region = np.unique(before['region_id'], return_index=True, return_inverse=True)
  label = np.asarray(before['label'])[first]
  weight = np.concatenate([np.ones((1, len(first)), int), draw_rows(before['pair_id'][first], resamples, seed)])
  seen, warned = (np.zeros((len(first), len(intervals)), bool) for _ in range(2))
  seen[region, place] = True
  warned[region, place] = forecast(before, rule)
  rows = []
  for kind, alarm in _alarms(seen, warned).items():
    for index, interval in enumerate(intervals.tolist()):
      shares = {}
      for name, value in CLASSES.items():
        inside = label == value
        shares |= {f'n_{name}': int(inside.sum()), f'n_{name}_seen': int(seen[inside, : index + 1].any(axis=1).sum())}
        drawn = weight[:, inside]
        total = drawn.sum(axis=1)
        samples = np.divide(drawn @ alarm[inside, index], total, out=np.full(len(total), np.nan), where=total > 0)
        low, high = confidence_interval(samples[1:])
        if samples[0] == 0:
          high = largest_unseen(total[0])
        elif samples[0] == 1:
          low = 1 - largest_unseen(total[0])
        shares |= {name: samples[0], f'{name}_low': low, f'{name}_high': high}
      names = {'model': averaged.meta['model'], 'threshold_rule': rule, 'alarm': kind}
      rows.append({**names, 'interval': interval, 'hours': hours[interval], **shares})
  table = Table(rows)
  table['hours'].unit = u.hour
  return table


def first_alarm_summary(table: Table) -> Table:
  """Tells in a row for each model, rule and kind of alarm how early EARs are warned of, and how many never are.

  Args:
    table: From `first_alarm_table`; of several models, stacked.

  Returns:
    `median_hours`, the interval by which half of those EARs that ever have an alarm before emergence have had it, NaN
    where none has; `never`, the share of EARs without, with its 95 % interval over pairs; `never_cr`, that of the CRs.
  """
  rows = []
  for group in table.group_by(['model', 'threshold_rule', 'alarm']).groups:
    group.sort('hours')
    last = group[-1]
    rows.append(
      {
        **{name: last[name] for name in ('model', 'threshold_rule', 'alarm', 'n_ear', 'n_cr')},
        'median_hours': group['hours'][np.argmax(group['ear'] >= last['ear'] / 2)] if last['ear'] > 0 else np.nan,
        'never': 1 - last['ear'],
        'never_low': 1 - last['ear_high'],
        'never_high': 1 - last['ear_low'],
        'never_cr': 1 - last['cr'],
      }
    )
  summary = Table(rows)
  summary['median_hours'].unit = u.hour
  return summary


def _alarms(seen: np.ndarray, warned: np.ndarray) -> dict[str, np.ndarray]:
  """Returns `[region, interval]` whether the first alarm of each kind has come, from `[region, interval]` forecasts."""
  quiet = seen & ~warned
  quiet_later = np.logical_or.accumulate(quiet[:, ::-1], axis=1)[:, ::-1]
  firsts = {'any': warned, 'kept': warned & ~quiet_later}
  return {kind: np.logical_or.accumulate(alarm, axis=1) for kind, alarm in firsts.items()}
