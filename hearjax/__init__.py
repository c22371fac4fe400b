"""hearjax: does the solar surface show that an active region is about to emerge?

The names below are what a notebook needs; each is imported when it is first used, so that `import hearjax` costs
nothing. Everything else is in the rooms: `hearjax.survey`, `.maps`, `.models`, `.training`, `.verification`, ….
"""

import lazy_loader

__version__ = '0.1.0'

__getattr__, __dir__, __all__ = lazy_loader.attach(
  __name__,
  submod_attrs={
    'checks': ['UserError'],
    'survey.archive': ['read_survey', 'write_survey'],
    'survey.folds': ['make_splits'],
    'survey.index': ['make_survey'],
    'simulate.worlds': ['simulate_survey'],
    'models.discriminant': ['DISCRIMINANTS', 'DiscriminantSettings', 'discriminant_analysis'],
    'models.network': ['ModelSettings'],
    'maps.augmentation': ['Augmentation'],
    'training.settings': ['Execution', 'RunSettings', 'TrainSettings'],
    'training.fit': ['fit'],
    'training.run': ['Run'],
    'verification.predictions': ['read_predictions', 'write_predictions'],
    'verification.skill': ['difference_tables', 'skill_mean_table', 'skill_table'],
  },
)
