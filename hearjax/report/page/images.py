"""Pictures within a page: losslessly packed, as text that an address can hold."""

import base64
import dataclasses
import io

from PIL import Image

from hearjax.checks import UserError

LONGEST_WEBP = 16383  # Side of the largest picture that the format knows [px].
EFFORT = 2  # Of packing, from 0 to 6: beyond it, time is lost and no room won.


@dataclasses.dataclass(frozen=True)
class Embedded:
  """A picture as the address of an `img`, and its size [px]."""

  source: str
  width: int
  height: int


def embed(content: bytes, name: str) -> Embedded:
  """Returns a picture as it stands in the page: every pixel as it was, in less than half the room.

  Args:
    content: Of a PNG file.
    name: Of the file, for the sentence of an error.

  Raises:
    UserError: It is no whole PNG file.
  """
  try:
    with Image.open(io.BytesIO(content), formats=['PNG']) as opened:
      opened.verify()  # Its checksums; it must then be opened again.
    with Image.open(io.BytesIO(content), formats=['PNG']) as opened:
      picture = opened.convert('RGBA' if opened.mode in ('RGBA', 'P', 'LA') else 'RGB')
  except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
    raise UserError(f'{name} is no whole picture ({error}); draw it again.') from error
  if picture.mode == 'RGBA' and picture.getextrema()[3] == (255, 255):  # As matplotlib writes them.
    picture = picture.convert('RGB')
  kind = 'png'
  if max(picture.size) <= LONGEST_WEBP:
    packed = io.BytesIO()
    picture.save(packed, 'WEBP', lossless=True, exact=True, method=EFFORT)
    kind, content = 'webp', packed.getvalue()
  return Embedded(f'data:image/{kind};base64,{base64.b64encode(content).decode()}', *picture.size)
