"""The playground: a page on which one clicks through the catalogue and sees what is recommended, and why."""

from nearnext.serving.playground.item_map import ItemMap
from nearnext.serving.playground.page import POLICY, find_items, page

__all__ = ["POLICY", "ItemMap", "find_items", "page"]
