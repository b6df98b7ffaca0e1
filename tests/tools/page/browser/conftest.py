"""The operator's page in a real browser. Fixtures that are imported once are made once."""

from tests.support.services.operators_page import admitted, admitted_tab, operated

__all__ = ["admitted", "admitted_tab", "operated"]
