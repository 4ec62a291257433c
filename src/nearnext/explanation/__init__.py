"""Why an item is recommended: the clicks that pulled it, items like it, and training sessions like this one."""

from nearnext.explanation.explain import DEPTH as DEPTH
from nearnext.explanation.explain import Explanation as Explanation
from nearnext.explanation.explain import Pull as Pull
from nearnext.explanation.explain import explain as explain
from nearnext.explanation.near_sessions import Evidence as Evidence
from nearnext.explanation.near_sessions import near_sessions as near_sessions
from nearnext.recommenders.space import session_index_of as session_index_of
from nearnext.recommenders.space import similar_items as similar_items
