"""The integer programme of a plan, and HiGHS, which solves it.

Whole machines ``x`` of each offer hold whole replicas ``z`` of each kind, and replicas serve shares ``f`` of flows:

- the load of the flows on a class of machines fits into its replicas: sum of f * rate / capacity <= z;
- replicas of at least s GPUs fit into the GPUs of machines that s divides, for every size s of a replica. Sizes divide
  one another, so machines filled from the largest replica down have no gaps, and these rows are exact;
- every flow is served whole, and, without the spot machines of any one region, to the share that must survive. Nothing
  moves between machines for that: what survives serves what it was planned for;
- budget, nodes in a region, machines of an offer.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from inferno_governator.plan.first_try import first_try
from inferno_governator.plan.fitting import Flow, Kind, holds
from inferno_governator.plan.question import Limits, Machine
from inferno_governator.plan.reduction import Cell
from inferno_runtime.errors import Broken

_MICROS = 1e6
# How far HiGHS may be off an integer or a bound; with costs in dollars that is a micro-dollar.
_TOLERANCE = 1e-6


@dataclass
class _Rows:
    """Sparse rows as they are written down."""

    lower: list[float] = field(default_factory=list)
    upper: list[float] = field(default_factory=list)
    starts: list[int] = field(default_factory=lambda: [0])
    columns: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    names: list[tuple[str, str]] = field(default_factory=list)

    def add(
        self,
        name: tuple[str, str],
        terms: Sequence[tuple[int, float]],
        lower: float = -math.inf,
        upper: float = math.inf,
    ) -> None:
        self.names.append(name)
        self.lower.append(lower)
        self.upper.append(upper)
        self.columns += [column for column, _ in terms]
        self.values += [value for _, value in terms]
        self.starts.append(len(self.columns))


@dataclass(frozen=True, slots=True)
class Solved:
    """What HiGHS found.

    Attributes:
        counts: Machines by their number in the question.
        replicas: Replicas by class and kind.
        served: Shares of flows by class, kind and flow.
        unserved: Shares of flows that nothing serves; all 0 unless it was allowed.
        bound: No plan costs less than so many micro-dollars an hour.
        optimal: It is within the gap that was asked for.
    """

    counts: Mapping[int, int]
    replicas: Mapping[tuple[int, Kind], int]
    served: Mapping[tuple[int, Kind, int], float]
    unserved: tuple[float, ...]
    bound: int
    optimal: bool


@dataclass(frozen=True, slots=True)
class Prices:
    """What the bounds cost, by the relaxation of the programme to fractions of machines: micro-dollars an hour for one
    more machine of an offer (by its number) or one more node of a region, and for what must survive a region."""

    machines: Mapping[int, float]
    regions: Mapping[str, float]
    zones: Mapping[str, float]


class Programme:
    """One question as rows and columns. ``elastic``: flows may go unserved, and as little as can be is; costs do not
    matter then."""

    def __init__(
        self,
        machines: Sequence[Machine],
        flows: Sequence[Flow],
        cells: Sequence[Cell],
        limits: Limits,
        *,
        elastic: bool = False,
    ) -> None:
        self._machines, self._flows, self._cells, self._limits = machines, flows, cells, limits
        self._elastic = elastic
        self._cost: list[float] = []
        self._most: list[float] = []
        self._whole: list[bool] = []
        self._rows = _Rows()
        self._x: dict[int, int] = {}
        self._z: dict[tuple[int, Kind], int] = {}
        self._f: dict[tuple[int, Kind, int], int] = {}
        self._u: list[int] = []
        self._wholes: list[int] = []
        for number, cell in enumerate(cells):
            self._write_cell(number, cell)
        self._write_flows()
        if not elastic:
            self._write_implied()
        self._write_limits()

    def _column(self, cost: float, most: float, *, whole: bool) -> int:
        self._cost.append(cost)
        self._most.append(most)
        self._whole.append(whole)
        return len(self._cost) - 1

    def _write_cell(self, number: int, cell: Cell) -> None:
        loads: dict[Kind, list[tuple[int, float]]] = defaultdict(list)
        for (kind, flow), rate in cell.rates.items():
            # More than the whole of a flow is of no use in one place, also where reserves are kept for a loss.
            share = self._f[number, kind, flow] = self._column(0, 1.0, whole=False)
            loads[kind].append((share, self._flows[flow].rate / rate))
        for member in cell.members:
            machine = self._machines[member]
            cost = 0.0 if self._elastic else machine.micros / _MICROS
            most = math.inf if machine.most is None else machine.most
            self._x[member] = self._column(cost, most, whole=True)
        for kind, terms in loads.items():
            replicas = self._z[number, kind] = self._column(0, math.inf, whole=True)
            self._rows.add(("load", ""), [*terms, (replicas, -1.0)], upper=0)
            for share, load in terms:
                if load < 1:
                    # Implied by whole replicas; said, because it lifts the bound of the relaxation.
                    self._rows.add(("some", ""), [(share, 1.0), (replicas, -1.0)], upper=0)
        for size in sorted({kind.gpus for kind in loads}):
            held = [(self._z[number, kind], float(kind.gpus)) for kind in loads if kind.gpus >= size]
            there = [
                (self._x[member], -float(self._machines[member].gpu_count))
                for member in cell.members
                if holds(self._machines[member], size)
            ]
            self._rows.add(("gpus", ""), [*held, *there], upper=0)

    def _write_flows(self) -> None:
        by_flow: dict[int, list[int]] = defaultdict(list)
        by_zone: dict[tuple[str, int], list[int]] = defaultdict(list)
        for (number, _, flow), column in self._f.items():
            by_flow[flow].append(column)
            if self._cells[number].zone:
                by_zone[self._cells[number].zone, flow].append(column)
        # Shares beyond the whole are reserves for a loss, and worth nothing where none is planned for.
        most = math.inf if by_zone else 1.0
        for flow, each in enumerate(self._flows):
            whole = self._column(0, most, whole=False)
            self._wholes.append(whole)
            self._rows.add(("flow", str(each)), [*((one, 1.0) for one in by_flow[flow]), (whole, -1.0)], 0, 0)
            missing = [(whole, 1.0)]
            if self._elastic:
                self._u.append(self._column(1.0, 1.0, whole=False))
                missing.append((self._u[-1], 1.0))
            self._rows.add(("served", str(each)), missing, lower=1.0)
        share = self._limits.surviving_share
        for (zone, flow), columns in by_zone.items():
            spare = [(self._u[flow], 1.0)] if self._elastic else []
            terms = [(self._wholes[flow], 1.0), *((one, -1.0) for one in columns), *spare]
            self._rows.add(("zone", zone), terms, lower=share)

    def _write_implied(self) -> None:
        """Rows that follow from whole replicas, and lift the bound of the relaxation: as many of a group as its load
        needs where it is least, and, where a loss must be survived, one that nothing takes back or two."""
        least: dict[tuple[str, int], float] = {}
        for cell in self._cells:
            for (kind, flow), rate in cell.rates.items():
                load = self._flows[flow].rate / rate
                least[kind.group, flow] = min(load, least.get((kind.group, flow), math.inf))
        need: dict[str, float] = defaultdict(float)
        for (group, _), load in least.items():
            need[group] += load
        held: dict[str, list[tuple[int, bool]]] = defaultdict(list)
        for (number, kind), column in self._z.items():
            held[kind.group].append((column, bool(self._cells[number].zone)))
        for group, replicas in held.items():
            enough = math.ceil(need[group] - _TOLERANCE)
            self._rows.add(("enough", group), [(column, 1.0) for column, _ in replicas], lower=enough)
            if self._limits.surviving_share > 0:
                self._rows.add(("two", group), [(column, 1.0 if spot else 2.0) for column, spot in replicas], lower=2.0)

    def _write_limits(self) -> None:
        if self._limits.budget is not None:
            terms = [(column, self._machines[member].micros / _MICROS) for member, column in self._x.items()]
            self._rows.add(("budget", ""), terms, upper=self._limits.budget / _MICROS)
        for region, most in self._limits.nodes_by_region:
            terms = [(column, 1.0) for member, column in self._x.items() if self._machines[member].zone == region]
            self._rows.add(("region", region), terms, upper=most)

    def solve(self, gap: float, seconds: float) -> Solved | None:
        """The cheapest plan, within ``gap`` (a share of its cost) or as good as the time allows; None: there is none.

        Raises:
            TimeoutError: No plan was found in time, and none was shown to be impossible.
            Broken: HiGHS answered with something that is no plan.
        """
        highspy, solver = self._solver()
        solver.setOptionValue("mip_rel_gap", gap)
        solver.setOptionValue("time_limit", seconds)
        self._begin(highspy, solver)
        solver.run()
        status = solver.getModelStatus()
        if status in (highspy.HighsModelStatus.kInfeasible, highspy.HighsModelStatus.kUnboundedOrInfeasible):
            return None
        info = solver.getInfo()
        if info.primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
            if status == highspy.HighsModelStatus.kTimeLimit:
                raise TimeoutError
            raise Broken(f"The solver ended with {status}.", reason="SOLVER_FAILED", fix="Report this question.")
        values = np.array(solver.getSolution().col_value)
        bound = info.mip_dual_bound if any(self._whole) else info.objective_function_value
        optimal = status == highspy.HighsModelStatus.kOptimal
        return self._read(values, bound, optimal=optimal)

    def _begin(self, highspy: Any, solver: Any) -> None:
        """Give the solver a plan to better: what it finds by itself first can be many times too dear."""
        share = self._limits.surviving_share
        begun = None if self._elastic else first_try(self._machines, self._flows, self._cells, share)
        if begun is None:
            return
        values = np.zeros(len(self._cost))
        for columns, found in ((self._x, begun.counts), (self._z, begun.replicas), (self._f, begun.served)):
            for key, value in found.items():
                values[columns[key]] = value  # type: ignore[index]
        for (_, _, flow), value in begun.served.items():
            values[self._wholes[flow]] += value
        solution = highspy.HighsSolution()
        solution.col_value = values
        # One that breaks a budget or a limit is passed over by the solver.
        solver.setSolution(solution)

    def prices(self) -> Prices:
        """What bounds cost, by the relaxation."""
        highspy, solver = self._solver(relaxed=True)
        solver.run()
        solution = solver.getSolution()
        machines: dict[int, float] = {}
        regions: dict[str, float] = defaultdict(float)
        zones: dict[str, float] = defaultdict(float)
        if solver.getModelStatus() == highspy.HighsModelStatus.kOptimal:
            reduced = solution.col_dual
            for member, column in self._x.items():
                if self._machines[member].most is not None and reduced[column] < -_TOLERANCE:
                    machines[member] = -reduced[column] * _MICROS
            for (what, name), dual in zip(self._rows.names, solution.row_dual, strict=True):
                if what == "region" and dual < -_TOLERANCE:
                    regions[name] -= dual * _MICROS
                elif what == "zone" and dual > _TOLERANCE:
                    zones[name] += dual * self._limits.surviving_share * _MICROS
        return Prices(machines, regions, zones)

    def _solver(self, *, relaxed: bool = False) -> tuple[Any, Any]:
        # 0.2 s: only what plans pays for it.
        import highspy

        rows = self._rows
        problem = highspy.HighsLp()
        problem.num_col_, problem.num_row_ = len(self._cost), len(rows.names)
        problem.col_cost_ = np.array(self._cost)
        problem.col_lower_ = np.zeros(len(self._cost))
        problem.col_upper_ = np.array(self._most)
        problem.row_lower_, problem.row_upper_ = np.array(rows.lower), np.array(rows.upper)
        problem.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        problem.a_matrix_.start_ = np.array(rows.starts)
        problem.a_matrix_.index_ = np.array(rows.columns)
        problem.a_matrix_.value_ = np.array(rows.values)
        if not relaxed:
            kinds = highspy.HighsVarType
            problem.integrality_ = [kinds.kInteger if whole else kinds.kContinuous for whole in self._whole]
        # The class below highspy.Highs, whose callbacks greet on standard output before anybody can silence them.
        solver: Any = highspy.Highs.__bases__[0]()
        solver.setOptionValue("output_flag", False)
        # Regions alike in all but price are many, and looking for symmetry among them takes longer than it saves.
        solver.setOptionValue("mip_detect_symmetry", False)
        # One thread and a fixed seed: the same question has the same answer.
        solver.setOptionValue("threads", 1)
        solver.setOptionValue("mip_abs_gap", _TOLERANCE / 10)
        solver.passModel(problem)
        return highspy, solver

    def _read(self, values: np.ndarray[Any, Any], bound: float, *, optimal: bool) -> Solved:
        whole = np.array(self._whole)
        clean = np.where(whole, np.rint(values), np.maximum(values, 0.0))
        self._check(clean)
        counts = {member: int(clean[column]) for member, column in self._x.items() if clean[column] > 0}
        replicas = {key: int(clean[column]) for key, column in self._z.items() if clean[column] > 0}
        served = {key: float(clean[column]) for key, column in self._f.items() if clean[column] > _TOLERANCE}
        unserved = tuple(float(clean[column]) for column in self._u) or (0.0,) * len(self._flows)
        least = math.ceil(bound * _MICROS - 0.5) if math.isfinite(bound) else 0
        return Solved(counts, replicas, served, unserved, max(0, least), optimal)

    def _check(self, values: np.ndarray[Any, Any]) -> None:
        """Hold the rounded answer against every row: the solver's word is not enough to spend money on."""
        rows = self._rows
        products = np.array(rows.values) * values[np.array(rows.columns, dtype=int)]
        sums = np.add.reduceat(np.append(products, 0.0), np.array(rows.starts[:-1]))
        empty = np.diff(np.array(rows.starts)) == 0
        sums[empty] = 0.0
        slack = 1e-5 * np.maximum(1.0, np.abs(sums))
        if np.any(sums < np.array(rows.lower) - slack) or np.any(sums > np.array(rows.upper) + slack):
            raise Broken(
                "The solver's answer does not keep the bounds of the plan.",
                reason="SOLVER_FAILED",
                fix="Report this question.",
            )
