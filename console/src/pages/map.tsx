/** `/d/map`: the regions on the world, and what lies between them. */

import { useState } from "preact/hooks";
import { useQuery } from "../api/query";
import type { FederationStatus, LagMatrix, LatencyMatrix, LinkStatus, Settings } from "../api/region_types";
import * as format from "../format";
import { to, useFilters } from "../router";
import { State } from "../ui/marks";
import { Matrix, shade } from "../ui/matrix";
import { Age, Heading, Panel, ProblemView, Waiting } from "../ui/panel";
import { LAND } from "../world";
import { Silent } from "./regions_table";
import { LagTable } from "./performance";

/** The part of the world that is shown: degrees north, two units each. */
const NORTH = 78;
const SOUTH = -57;
const HEIGHT = (NORTH - SOUTH) * 2;

interface Point {
  region: string;
  x: number;
  y: number;
}

function pointsOf(settings: Settings | null): Point[] {
  return (settings?.regions ?? []).flatMap(({ region, latitude, longitude }) => {
    if (latitude === null || longitude === null) return [];
    return [{ region, x: (longitude + 180) * 2, y: (NORTH - Math.max(SOUTH, Math.min(NORTH, latitude))) * 2 }];
  });
}

/** The round trip from which a link counts as short or long, ms. */
const SHORT_MS = 120;
const LONG_MS = 400;

export function MapPage() {
  const status = useQuery<FederationStatus>("/v1/federation", 3000);
  const settings = useQuery<Settings>("/v1/settings", 60_000);
  const latency = useQuery<LatencyMatrix>("/v1/network/latency-matrix", 5000);
  const lags = useQuery<LagMatrix>("/v1/state/lag-matrix", 5000);
  return (
    <>
      <Heading title="Map and matrices" about={status.data && <Age asOf={status.data.as_of} at={status.at} />} />
      {status.problem && <ProblemView problem={status.problem} kept={status.data !== null} />}
      {settings.problem && <ProblemView problem={settings.problem} kept={settings.data !== null} />}
      {!status.data && !status.problem && <Waiting />}
      {status.data && (
        <>
          <Silent status={status.data} at={status.at} />
          <World status={status.data} points={pointsOf(settings.data)} links={latency.data?.links ?? []} />
        </>
      )}
      <div class="columns">
        <Panel title="Links" answer={latency}>
          {latency.data && <LinkTable latency={latency.data} />}
        </Panel>
        <Panel title="Replication lag" answer={lags}>
          {lags.data && <LagTable lags={lags.data} />}
        </Panel>
      </div>
    </>
  );
}

function World({ status, points, links }: { status: FederationStatus; points: Point[]; links: LinkStatus[] }) {
  const [chosen, choose] = useState<string | null>(null);
  const at = new Map(points.map((point) => [point.region, point]));
  const placeless = status.regions.filter((one) => !at.has(one.region));
  // A pair is drawn once, by its worse direction.
  const pairs = links.filter((link) => link.from < link.to && at.has(link.from) && at.has(link.to));
  const shownPairs = pairs.filter((link) => chosen === null || link.from === chosen || link.to === chosen);
  return (
    <section class="panel wide" aria-label="Map of the regions">
      <div class="world">
        <div class="globe">
          <svg viewBox={`0 0 720 ${HEIGHT}`} aria-hidden="true" focusable="false">
            <g class="graticule">
              {[-120, -60, 0, 60, 120].map((lon) => (
                <path key={lon} d={`M${(lon + 180) * 2},0V${HEIGHT}`} />
              ))}
              {[-30, 0, 30, 60].map((lat) => (
                <path key={lat} d={`M0,${(NORTH - lat) * 2}H720`} />
              ))}
            </g>
            <path class="land" d={LAND} transform={`translate(0 ${(NORTH - 90) * 2})`} />
            {shownPairs.map((link) => (
              <Arc key={`${link.from}>${link.to}`} link={link} from={at.get(link.from)} to={at.get(link.to)} />
            ))}
          </svg>
          <ul class="points">
            {points.map((point) => {
              const summary = status.regions.find((one) => one.region === point.region);
              if (!summary) return null;
              const side = point.x > 560 ? "west" : "east";
              return (
                <li
                  key={point.region}
                  class={side}
                  style={{ left: `${(100 * point.x) / 720}%`, top: `${(100 * point.y) / HEIGHT}%` }}
                  onMouseEnter={() => choose(point.region)}
                  onMouseLeave={() => choose(null)}
                >
                  <span class={`point ${summary.health.state}`} aria-hidden="true" />
                  <a href={to("regions", point.region)} onFocus={() => choose(point.region)} onBlur={() => choose(null)}>
                    <b>{point.region}</b>
                    <State name={summary.lifecycle === "lost" ? "lost" : summary.health.state} />
                    <span class="num load">{summary.vms === null ? "VMs unknown" : format.many(summary.vms, "VM")}</span>
                  </a>
                </li>
              );
            })}
          </ul>
        </div>
      </div>
      <p class="key">
        Round trip: <span class="line h0" aria-hidden="true" /> up to {SHORT_MS} ms <span class="line h2" aria-hidden="true" /> up to{" "}
        {LONG_MS} ms <span class="line h4" aria-hidden="true" /> longer <span class="line cut" aria-hidden="true" /> down or not measured
      </p>
      {placeless.length > 0 && (
        <p class="muted">
          Not on the map, as nobody has set their coordinates: {placeless.map((one) => one.region).join(", ")}.
        </p>
      )}
    </section>
  );
}

function Arc({ link, from, to: end }: { link: LinkStatus; from: Point | undefined; to: Point | undefined }) {
  if (!from || !end) return null;
  const bend = Math.min(60, Math.abs(from.x - end.x) / 5);
  const middle = `${(from.x + end.x) / 2},${(from.y + end.y) / 2 - bend}`;
  const known = link.up === true && link.rtt_p50_ms !== null;
  return (
    <path
      class={known ? `link h${shade(link.rtt_p50_ms ?? 0, SHORT_MS, LONG_MS)}` : "link cut"}
      d={`M${from.x},${from.y}Q${middle} ${end.x},${end.y}`}
    />
  );
}

type Measure = "rtt" | "loss" | "throughput";

const MEASURES: Record<Measure, { label: string; of: (link: LinkStatus) => number | null; unit: (n: number) => string; good: number; bad: number }> = {
  rtt: { label: "Round trip", of: (link) => link.rtt_p50_ms, unit: format.duration, good: SHORT_MS, bad: LONG_MS },
  loss: { label: "Loss", of: (link) => link.loss_percent, unit: format.percent, good: 0.1, bad: 5 },
  throughput: {
    label: "Throughput",
    of: (link) => link.throughput_mbit_s,
    unit: (n) => `${format.figure(n)} Mbit/s`,
    good: Infinity,
    bad: Infinity,
  },
};

function LinkTable({ latency }: { latency: LatencyMatrix }) {
  const [filters, change] = useFilters();
  const name = (filters["measure"] ?? "rtt") in MEASURES ? ((filters["measure"] ?? "rtt") as Measure) : "rtt";
  const measure = MEASURES[name];
  const links = new Map(latency.links.map((link) => [`${link.from}>${link.to}`, link]));
  const cell = (from: string, end: string) => {
    const link = links.get(`${from}>${end}`);
    if (!link) return null;
    const value = link.up === false ? null : measure.of(link);
    const age = link.age_ms === null ? "never measured" : `measured ${format.age(link.age_ms)} ago`;
    const p99 = link.rtt_p99_ms === null ? "" : `, p99 ${format.duration(link.rtt_p99_ms)}`;
    return {
      value,
      text: value === null ? "" : measure.unit(value),
      title: `${from} to ${end}: ${link.up === false ? "down, " : ""}${age}${p99}`,
    };
  };
  return (
    <>
      <div class="segments" role="group" aria-label="What is shown">
        {Object.entries(MEASURES).map(([key, { label }]) => (
          <button type="button" key={key} aria-pressed={key === name} onClick={() => change({ measure: key === "rtt" ? "" : key })}>
            {label}
          </button>
        ))}
      </div>
      <Matrix label={measure.label} regions={latency.regions} cell={cell} good={measure.good} bad={measure.bad} />
    </>
  );
}
