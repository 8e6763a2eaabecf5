"""Further sections of the report: one for each model besides the main one, and others that read their own tables.

A section is a module of this folder with a `SECTION`, and a template of the same name in
``templates/sections``. The template writes what stands under the heading; question, tumours, gate, priors and
diagnostics of a model are written by the page itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bayes_her2.report.figures import Maker
from bayes_her2.report.load import Kind, Results, SectionReads
from bayes_her2.report.tables import Table


@dataclass(frozen=True)
class Section:
    """One section of the report.

    Attributes
    ----------
    name
        Anchor, and name of its template. A section of a model has the model's name.
    title
        Heading.
    after
        Anchor of the main section that it follows.
    model
        Model whose inference it shows: the section appears when the model was fitted, and holds the reasons alone
        where it was refused. Empty: the section appears where the tables that it needs are there.
    needed, optional
        Columns of the CSV files that it reads, by file name. `load.columns_of` writes them briefly.
    tables
        Makes its tables, in reading order.
    tables_of_places
        Makes tables that say where on the page something is, from the titles of its sections by anchor.
    figures
        Draw its figures, in reading order.
    figure_names
        Every figure that it may write.
    summary
        Its result in a sentence for the first page; '' for none.
    has_content
        Whether these results give it anything to say, beyond the tables that it needs.
    """

    name: str
    title: str
    after: str
    model: str = ""
    needed: Mapping[str, Mapping[str, Kind]] = field(default_factory=dict)
    optional: Mapping[str, Mapping[str, Kind]] = field(default_factory=dict)
    tables: Callable[[Results], list[Table]] = lambda results: []
    tables_of_places: Callable[[Results, Mapping[str, str]], list[Table]] = lambda results, titles: []
    figures: tuple[Maker, ...] = ()
    figure_names: tuple[str, ...] = ()
    summary: Callable[[Results], str] = lambda results: ""
    has_content: Callable[[Results], bool] = lambda results: True

    @property
    def reads(self) -> SectionReads:
        """What it reads, for the loader."""
        return SectionReads(self.model, self.needed, self.optional)

    def shown(self, results: Results) -> bool:
        """Whether the page has this section."""
        if self.model:
            return self.model in results.models
        return all(name in results.tables for name in self.needed) and self.has_content(results)

    def answered(self, results: Results) -> bool:
        """Whether it holds more than the reasons of a refusal."""
        return self.shown(results) and (not self.model or self.model in results.complete)
