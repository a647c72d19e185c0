r"""BibTeX and CSL JSON of a selection: every table is covered, every work stands once, and what is written is read."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from bibtexparser.entrypoint import parse_string
from bibtexparser.model import Entry as Parsed
from hypothesis import example, given, settings
from hypothesis import strategies as st

from feature_registry.exports import bibtex, csl_json
from feature_registry.exports._works import dois, escaped, text, works
from feature_registry.model import Contents, Entry
from feature_registry_tests.contracts.exports import contents, entry

ARTICLE = r"""
@string{nat = "Nature"}
@article{sven2024,
  author = {Dorkenwald, Sven and {The FlyWire Consortium} and von M{\"u}ller, J{\"o}rg},
  title = "Neuronal {W}iring: 50\% \& more", journal = nat, year = 2024, month = oct,
  volume = 634, number = 8032, pages = {124--138}, doi = {10.1038/S41586-024-07558-Y}, note = {A note}}
"""
SENTENCE = "Please cite Dorkenwald et al., Nature 2024 (https://doi.org/10.1038/s41586-024-07558-y)."
# https://docs.citationstyles.org/en/stable/specification.html#appendix-iv-variables, and the schema csl-data.json
CSL = {"id", "type", "author", "editor", "title", "container-title", "collection-title", "publisher"}
CSL |= {"publisher-place", "volume", "edition", "page", "version", "DOI", "URL", "ISBN", "ISSN", "abstract", "keyword"}
CSL |= {"source", "issue", "number", "issued", "note"}


def cited(name: str, citation: str, mat_version: int = 7, **fields: Any) -> Entry:
    made = entry(name, mat_version)
    return made.model_copy(update={"table": made.table.model_copy(update={"citation": citation, **fields})})


def parsed(*entries: Entry) -> list[Parsed]:
    library = parse_string(bibtex.export(contents(*entries)))
    assert not library.failed_blocks
    assert not library.comments
    return library.entries


def items(*entries: Entry) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(csl_json.export(contents(*entries)))
    assert {name for item in found for name in item} <= CSL
    return found


def noted(work: Parsed | dict[str, Any]) -> str:
    return text(work["note"]) if isinstance(work, Parsed) else work["note"]


# ------------------------------------------------------------------------------------------------------- each once


@pytest.mark.row("M13")
def test_a_work_that_two_tables_cite_stands_once_and_names_both() -> None:
    for first, second in ((ARTICLE, SENTENCE), (SENTENCE, ARTICLE)):
        selection = cited("synapses", first), cited("spines", second, license=None), entry("cells", 7)
        for found in (parsed(*selection), items(*selection)):
            assert len(found) == 2
            assert re.search(r"Data: d/synapses@7 \(CC-BY-4.0\); d/spines@7 \(no licence is said\)", noted(found[0]))
            assert "d/cells@7 (CC-BY-4.0)" in noted(found[1])
        assert parsed(*selection)[0].key == "sven2024"
        assert parsed(*selection)[0]["title"] == r"Neuronal {W}iring: 50\% \& more"


@pytest.mark.row("M13")
@pytest.mark.parametrize(
    "doi",
    [
        "https://doi.org/10.1038/S41586-024-07558-Y",
        "http://dx.doi.org/10.1038/s41586-024-07558-y",
        "doi:10.1038/s41586-024-07558-y.",
        r"10.1038/s41586\-024-07558-y",
    ],
)
def test_a_doi_is_the_same_however_it_is_spelled(doi: str) -> None:
    found = parsed(cited("a", ARTICLE), cited("b", f"@misc{{other, title = {{T}}, doi = {{{doi}}}}}"))
    assert [each.key for each in found] == ["sven2024"]
    by_url = f"@misc{{other, title = {{T}}, url = {{{doi}}}}}"
    assert len(parsed(cited("a", ARTICLE), cited("b", by_url))) == (1 if "doi.org" in doi else 2)


@pytest.mark.row("M13")
def test_without_a_doi_works_are_the_same_by_key_and_title() -> None:
    one, same = "@misc{Key, title = {{A} Title}}", "@online{key, title = {a title.}, year = 2020}"
    other = "@misc{key, title = {Another title}}"
    found = parsed(cited("a", one), cited("b", same), cited("c", other))
    assert [each.key for each in found] == ["Key", "key_2"]
    assert "d/a@7" in noted(found[0])
    assert "d/b@7" in noted(found[0])


@pytest.mark.row("M13")
def test_keys_of_different_works_never_meet() -> None:
    texts = [
        "@misc{k, title={1}}",
        "@misc{K, title={2}}",
        "@misc{k_2, title={3}}",
        "@misc{, title={4}}",
        "@misc{ü ö, title={5}}",
    ]
    found = parsed(*(cited(f"t{number}", each) for number, each in enumerate(texts)))
    assert [each.key for each in found] == ["k", "K_2", "k_2_2", "d_t3", "u_o"]
    assert [each["title"] for each in found] == list("12345")


@pytest.mark.row("M13")
def test_a_preprint_with_another_doi_is_another_work() -> None:
    two = [f"@article{{k, title={{Same}}, doi={{10.1101/{number}}}}}" for number in (1, 2)]
    assert [each.key for each in parsed(*(cited(f"t{n}", each) for n, each in enumerate(two)))] == ["k", "k_2"]


@pytest.mark.row("M13")
def test_one_citation_may_name_several_works() -> None:
    three = ARTICLE + "@misc{b, title={B}} Also cite doi:10.5281/zenodo.42, please. @misc{b, title={C}}"
    found = parsed(cited("a", three))
    assert [(each.key, each.get("doi") and each["doi"]) for each in found] == [
        ("sven2024", "10.1038/S41586-024-07558-Y"),
        ("b", None),
        ("b_2", None),
        ("d_a", "10.5281/zenodo.42"),
    ]
    both = "Cite 10.1/no, 10.1101/x(1)2 and (https://doi.org/10.5281/zenodo.42)."
    assert [each["doi"] for each in parsed(cited("a", both))] == ["10.1101/x(1)2", "10.5281/zenodo.42"]


@pytest.mark.row("M13")
@pytest.mark.parametrize("broken", ["@misc{x, title={open", "@", "@misc", "@article{a title}", "{{{", "nothing known"])
def test_what_is_no_bibtex_is_cited_as_it_is_written(broken: str) -> None:
    (found,) = parsed(cited("a", broken))
    assert text(found["title"]) == broken
    assert items(cited("a", broken))[0]["title"] == broken


# ------------------------------------------------------------------------------------------------------ tables alone


@pytest.mark.row("M13")
def test_a_table_without_a_citation_is_cited_itself() -> None:
    selection = entry("synapse_size", 7), entry("synapse_size", 8)
    (found,), (item,) = parsed(*selection), items(*selection)
    assert found.entry_type == "misc"
    assert found.key == "d_synapse_size"
    said = {name: text(found[name]) for name in ("author", "title", "year", "howpublished", "copyright", "abstract")}
    assert said == {
        "author": "team",
        "title": "synapse_size, a feature table of d",
        "year": "2024",
        "howpublished": "d/synapse_size",
        "copyright": "CC-BY-4.0",
        "abstract": "Größe & <b>markup</b>",
    }
    assert item["type"] == "dataset"
    assert item["author"] == [{"literal": "team"}]
    assert item["issued"] == {"date-parts": [[2024]]}
    assert noted(found) == item["note"] == "Data: d/synapse_size@7, d/synapse_size@8 (CC-BY-4.0)"


@pytest.mark.row("M11")
def test_licence_and_constraints_stand_beside_the_table() -> None:
    terms = {"license": "CC-BY-NC-4.0", "usage_constraints": "Not for\nsale & co.", "redistribution": "forbidden"}
    for citation in ("", ARTICLE):
        for found in (parsed(cited("a", citation, **terms)), items(cited("a", citation, **terms))):
            assert "d/a@7 (CC-BY-NC-4.0; Not for sale & co.; redistribution is forbidden)" in noted(found[0])


@pytest.mark.row("M13")
def test_csl_json_has_names_dates_and_pages() -> None:
    (item,) = items(cited("a", ARTICLE))
    assert item == {
        "id": "sven2024",
        "type": "article-journal",
        "author": [
            {"family": "Dorkenwald", "given": "Sven"},
            {"literal": "The FlyWire Consortium"},
            {"family": "Müller", "given": "Jörg", "non-dropping-particle": "von"},
        ],
        "title": "Neuronal Wiring: 50% & more",
        "container-title": "Nature",
        "volume": "634",
        "issue": "8032",
        "page": "124\N{EN DASH}138",
        "DOI": "10.1038/s41586-024-07558-y",
        "issued": {"date-parts": [[2024, 10]]},
        "note": "Data: d/a@7 (CC-BY-4.0). A note",
    }


@pytest.mark.parametrize(
    ("said", "parts"),
    [
        ("year = 2024, month = 3", [2024, 3]),
        ("year = {2024}, month = {March}", [2024, 3]),
        ("date = {2024-05-06}", [2024, 5, 6]),
        ("year = {2024}, month = {13}", [2024]),
        ("year = {2024}, month = {²}", [2024]),
        ("year = {in press}", None),
    ],
)
def test_csl_json_dates(said: str, parts: list[int] | None) -> None:
    (item,) = items(cited("a", f"@misc{{k, title = {{T}}, {said}}}"))
    assert item.get("issued") == (None if parts is None else {"date-parts": [parts]})


# --------------------------------------------------------------------------------------------------- whatever is said

MARKUP = [*"{}\\\"@%$#&_~^-`'<>,!?=()\n ", "ü", "é", "∂", "字", "a", "b", "1", "\\textbf{", "@misc{k,", "10.1038/"]
NASTY = st.lists(st.sampled_from(MARKUP), max_size=30).map("".join)
ANY = st.one_of(NASTY, st.text(max_size=60))


@pytest.mark.row("M13")
@settings(deadline=None)
@given(ANY)
@example("a -- b ``quoted'' ?` << >> {")
@example("\\")
def test_plain_text_survives_latex(said: str) -> None:
    assert text(escaped(said)) == " ".join("".join(each if each.isprintable() else " " for each in said).split())


@pytest.mark.row("M13")
@settings(deadline=None)
@given(st.lists(st.tuples(ANY, ANY, ANY), min_size=1, max_size=4))
def test_whatever_is_said_what_is_written_is_read_and_no_table_is_missing(said: list[tuple[str, str, str]]) -> None:
    """Through fields of BibTeX, sentences, descriptions, licences and owners alike."""
    forms = ("{1}", "@article{{k, title = {{{1}}}, note = {{{2}}}}}", '@misc{{{0}, author = "{1}", title = "{2}"}}')
    selection = []
    for number, words in enumerate(said):
        terms = {"description": words[0], "license": words[1] or None, "usage_constraints": words[2]}
        selection.append(cited(f"t{number}", forms[number % 3].format(*words), **terms))
        selection.append(cited(f"u{number}", "", **terms))
    wanted = works(selection)
    found, told = parsed(*selection), items(*selection)
    assert [each.key for each in found] == [each.key for each in wanted] == [each["id"] for each in told]
    assert len({each.key.lower() for each in found}) == len(found)
    for work, written in zip(wanted, found, strict=True):
        fields = work.fields | {"note": work.note}
        assert {field.key: str(field.value) for field in written.fields} == fields
    for each in selection:
        name = f"d/{each.table.name}@7 ("
        assert any(name in noted(work) for work in found)
        assert any(name in noted(work) for work in told)


def test_braces_that_nobody_closes_or_that_are_too_many_take_no_time() -> None:
    for depth in ("{" * 5_000, "{" * 2_500 + "}" * 2_500, "\\" * 5_000, "$" * 5_000, "@misc{" * 1_000):
        assert len(parsed(cited("a", depth), cited("b", f"@misc{{k, title = {{{depth}}}}}"))) >= 1
        assert len(items(cited("a", depth))) >= 1


def test_dois_end_where_their_sentence_goes_on() -> None:
    assert list(dois("(10.1038/ABC). https://doi.org/10.1/x 10.1016/0092-8674(88)90075-X;")) == [
        "10.1038/abc",
        "10.1016/0092-8674(88)90075-x",
    ]


def test_nothing_is_a_bibliography_too() -> None:
    assert parse_string(bibtex.export(Contents())).entries == []
    assert json.loads(csl_json.export(Contents())) == []
