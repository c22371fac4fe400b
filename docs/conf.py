"""The manual: Sphinx with MyST; its tutorials are notebooks that run when it is built.

`make docs` builds it. HEARJAX_DOCS_EXECUTE=off leaves the tutorials unexecuted, for a look at the other pages.
"""

import os
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import reference  # noqa: E402  Beside this file.

import hearjax  # noqa: E402  Of this checkout.

os.environ.setdefault('XLA_FLAGS', '--xla_backend_optimization_level=1')  # Tutorials compile more than they compute.

project = 'hearjax'
author = 'The hearjax developers'
project_copyright = author
release = version = hearjax.__version__

extensions = ['myst_nb', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon', 'sphinx.ext.viewcode']
exclude_patterns = ['_build']
nitpicky = True
# Types of other packages: their manuals are not asked, so that the build needs no network.
nitpick_ignore = [('py:class', name) for name in reference.type_variables()]  # They have no entry.
nitpick_ignore_regex = [('py:.*', reference.ELSEWHERE)]

# Pages and notebooks.
myst_enable_extensions = ['deflist', 'dollarmath']
myst_heading_anchors = 3
nb_execution_mode = os.environ.get('HEARJAX_DOCS_EXECUTE', 'force')
nb_execution_timeout = 300  # Seconds for one cell.
nb_execution_raise_on_error = True
nb_merge_streams = True
# Tutorials call `hearjax` in a shell: that of this Python.
os.environ['PATH'] = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get('PATH', '')])
# Only a notebook that has run says that its `%%bash` is no Python.
suppress_warnings = ['misc.highlighting_failure'] if nb_execution_mode == 'off' else []

# Docstrings: Google's style; what stands between single backticks is code.
default_role = 'code'
autodoc_default_options = {'members': True, 'member-order': 'bysource'}
autodoc_typehints_format = 'short'
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False

html_theme = 'pydata_sphinx_theme'
html_title = f'hearjax {release}'
html_static_path = ['_static']
html_css_files = ['hearjax.css']
html_show_sourcelink = False
html_theme_options = {
  'logo': {'text': 'hearjax'},
  'navbar_align': 'left',
  'navigation_with_keys': False,
  'show_prev_next': True,
  'pygments_light_style': 'a11y-high-contrast-light',
  'pygments_dark_style': 'a11y-high-contrast-dark',
  'footer_start': ['copyright'],
  'footer_end': [],
}


def setup(app) -> None:
  """Lets the pages of scripts and modules be filled from the code when they are read."""
  app.connect('source-read', reference.fill)
  app.connect('autodoc-process-docstring', reference.prepare, priority=400)  # Before napoleon.
  app.connect('autodoc-skip-member', reference.skip)
