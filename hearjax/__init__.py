"""hearjax: does the solar surface show that an active region is about to emerge?"""

__version__ = '0.1.0'
