"""The playground: a page on which one clicks through the catalogue and sees what is recommended, and why."""

from nearnext.serving.playground.item_map import ItemMap
from nearnext.serving.playground.page import POLICY, page
from nearnext.serving.playground.search import find_items

__all__ = ["POLICY", "ItemMap", "find_items", "page"]
