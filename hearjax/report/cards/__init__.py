"""Cards: what a survey and a run are, written from their files for those who meet them later."""

from hearjax.report.cards.dataset_card import dataset_card
from hearjax.report.cards.model_card import model_card

__all__ = ['dataset_card', 'model_card']
