"""A full disk of a few pixels with the geometry of a real frame, and a network of mean |B| to look at it."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
from astropy.io import fits
from sunpy.map import GenericMap

from hearjax.models.network import EmergenceNetwork, build_model
from hearjax.observe.magnetogram import read_magnetogram
from hearjax.training.ensemble import stack_members
from tests.hand_made import DOMAIN, one_layer
from tests.real_maps import FULL_DISK, disk_positions, distance_mm, write_disk

SIDE = 300  # [px]
# Squares of 64 Mm in pixels as coarse as those of the disk.
SMALL_DOMAIN = DOMAIN | {
  'size': 16,
  'pixel_scale_mm': 4.0,
  'unsigned_flux_mx': [1e20, 8e21],
  'peak_gauss': [0.0, 900.0],
}


def small_header(**cards) -> fits.Header:
  """Returns the header of a disk of `SIDE` x `SIDE` px, rolled by 180 deg."""
  header = fits.getheader(FULL_DISK, ignore_blank=True)
  for axis in '12':
    header[f'CRPIX{axis}'] = (header[f'CRPIX{axis}'] - 0.5) * SIDE / 100 + 0.5
    header[f'CDELT{axis}'] /= SIDE / 100
  for key in ('BLANK', 'T_REC', 'DATE-OBS', 'DATE'):
    header.remove(key, ignore_missing=True)
  header['BUNIT'] = 'Gauss'
  header.update(cards)
  return header


def write_small_disk(path: pathlib.Path, spots=(), quiet: float = 20.0, **cards) -> pathlib.Path:
  """Writes a disk of a weak field with strong ones of 40 Mm around some places.

  Args:
    path: Where.
    spots: Longitude and latitude (Carrington) [deg] and field [G] of each.
    quiet: Field elsewhere, of both signs in turn [G].
    **cards: Of the header.
  """
  header = small_header(**cards)
  longitude, latitude = disk_positions(header, SIDE)
  field = np.where(np.indices((SIDE, SIDE)).sum(axis=0) % 2, quiet, -quiet)
  for east, north, strength in spots:
    field = np.where(distance_mm(longitude, latitude, (east, north)) < 40, strength, field)
  return write_disk(path, header, np.where(np.isfinite(longitude), field, np.nan))


def small_disk(folder: pathlib.Path, spots=(), **keywords) -> GenericMap:
  return read_magnetogram(write_small_disk(folder / 'small.fits', spots, **keywords))


def centre(header: fits.Header) -> tuple[float, float]:
  """Returns Carrington longitude and latitude of disk centre [deg]."""
  return header['CRLN_OBS'], header['CRLT_OBS']


def mean_network(slopes=(0.04, 0.02), offset: float = -2.0) -> tuple[EmergenceNetwork, dict]:
  """Returns a network whose logit is `slope` times the mean of |B|, and an offset, and its members' parameters."""
  members = []
  for slope in slopes:
    settings, params = one_layer([[[1.0, -1.0]]], strides=(2,), logit=slope)
    params['params']['logit']['bias'] = np.full(1, offset)
    members.append(jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), params))
  return build_model(settings, SMALL_DOMAIN['pixel_scale_mm']), stack_members(members)
