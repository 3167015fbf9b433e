"""The figures of a report, by hand."""

import numpy as np
import pytest

from headrace.jobs.batch.judging.figures import About, JudgedLists, raw, summary
from headrace.udfs.evaluation.ranking import Relevant

pytestmark = pytest.mark.spark  # what runs in the batch environment

# Six users want one item each, 1 to 6. Those of even place choose.
WANTED = np.arange(1, 7)
ABOUT = About(Relevant(np.arange(7), WANTED), np.arange(6), np.ones(8, np.int64), 6, WANTED % 2 == 1)


def lists(*finding: int) -> JudgedLists:
    """Returns lists of one item: the wanted one for these users, item 0 for the others."""
    return JudgedLists(np.where(np.isin(np.arange(6), finding), WANTED, 0)[:, None], np.ones(6, bool))


def test_who_chooses_does_not_judge() -> None:
    """`lucky` is best for those who choose, and finds nothing for the others; `sound` is best over all."""
    asked = {"lucky": lists(0, 2, 4), "sound": lists(0, 1, 2, 3, 5), "popularity": lists()}
    found = summary(asked, ABOUT, {}, ["lucky", "sound"])
    assert found["chosen"] == "lucky"
    assert found["models"]["lucky"]["ndcg"]["value"] == 0
    assert found["models"]["sound"]["ndcg"]["value"] == 1
    assert (found["models"]["lucky"]["hits"], found["models"]["sound"]["hits"]) == (0, 3)
    assert (found["data"]["users"], found["data"]["users_choosing"], found["data"]["relevant"]) == (3, 3, 3)
    assert found["models"]["lucky"]["coverage"]["value"] == 4 / 8  # of the lists of all six
    assert found["bounds"]["coverage"] == 6 / 8


def test_an_unfit_model_is_chosen_only_if_there_is_no_other() -> None:
    asked = {"lucky": lists(0, 2, 4), "sound": lists(0, 1, 2, 3, 5), "popularity": lists()}
    assert summary(asked, ABOUT, {}, ["lucky", "sound"], unfit={"lucky"})["chosen"] == "sound"
    assert summary(asked, ABOUT, {}, ["lucky", "sound"], unfit={"lucky", "sound"})["chosen"] == "lucky"


def test_where_all_users_are_new_the_live_lists_choose() -> None:
    asked = {"a": lists(), "b": lists(), "popularity": lists()}
    assert summary(asked, ABOUT, {}, ["a", "b"])["chosen"] == "a"
    assert summary(asked, ABOUT, {}, ["a", "b"], live={"a": 0.1, "b": 0.2})["chosen"] == "b"


def test_with_one_model_all_judge() -> None:
    asked = {"only": lists(0, 2, 4), raw("only"): lists(0), "popularity": lists()}
    found = summary(asked, ABOUT._replace(choosing=None), {}, ["only"])
    assert found["models"]["only"]["ndcg"]["value"] == 0.5
    assert found["models"]["only"]["raw"]["ndcg"]["value"] == pytest.approx(1 / 6)
    assert (found["data"]["users"], found["data"]["users_choosing"]) == (6, 0)
