// The facts as cards: a few lines each, in plain words. What is wrong is amber, and the list above the cards says what to do.

import type { ComponentChildren } from "preact";
import { bytes, count, counted, duration } from "../../format";
import { Card } from "../../parts/Card";
import { Tag } from "../../parts/Tag";
import { Time } from "../../parts/Time";
import { link } from "../../router";
import type { Facts, Sink } from "./facts";

/** The version, since when it runs, and its parts. */
export function ServiceCard({ facts }: { facts: Facts }) {
  const watches = facts.watches ?? 0;
  const stuck = facts.parts.filter((part) => part.state === "stuck");
  return (
    <Card title="Service" actions={<State isWell={facts.ready} well="running" other="starting" />}>
      <Lines>
        <Line name="Version">{facts.version}</Line>
        <Line name="Runs for">{duration(facts.up_s)}, since <Time at={facts.since} /></Line>
        <Line name="Parts">
          {stuck.length === 0 ? `${counted(facts.parts.length, "part")}, all make progress` : <Amber>{stuck.map((part) => part.name).join(", ")}: no progress</Amber>}
        </Line>
        <Line name="Configuration">
          {facts.config_valid ? "valid" : <Amber>invalid: an earlier one is in force (<a href={link("configuration")}>Configuration</a>)</Amber>}
        </Line>
        {watches > 0 && <Line name="Temporary labels">{count(watches)}</Line>}
        <Line name="Open consoles">{count(facts.clients)}</Line>
      </Lines>
    </Card>
  );
}

/** Which model scores, where, why there, and how fast. */
export function ModelCard({ model }: { model: Facts["model"] }) {
  const { loaded, figures } = model;
  return (
    <Card title="Model" actions={<State isWell={loaded != null} well={loaded?.device ?? ""} other="being loaded" />}>
      <Lines>
        <Line name="Name">{model.name}</Line>
        {loaded && <Line name="Device">{loaded.device}: {loaded.reason}</Line>}
        {figures && <Line name="Speed">{milliseconds(figures.picture_ms)} for a picture, in batches of {figures.pictures.toFixed(1)}</Line>}
        {figures && <Line name="Now">{figures.per_second.toFixed(figures.per_second < 10 ? 2 : 0)} pictures a second</Line>}
        <Line name="Scored">
          {counted(model.scored, "frame")}{model.repeated > 0 && `, and ${count(model.repeated)} repeated ones`}
          {model.failed > 0 && <Amber>, {count(model.failed)} could not be scored</Amber>}
        </Line>
        {loaded && <Line name="Files">{loaded.files} ({bytes(loaded.bytes)})</Line>}
        {loaded && <Line name="Library">{loaded.engine}</Line>}
      </Lines>
    </Card>
  );
}

/** Who receives alerts, and what waits. */
export function DeliveryCard({ delivery }: { delivery: NonNullable<Facts["delivery"]> }) {
  const { outbox } = delivery;
  return (
    <Card title="Delivery" actions={<State isWell={delivery.connected} well="broker connected" other="broker not connected" />}>
      <Lines>
        {delivery.sinks.map((sink) => <SinkLine key={sink.name} sink={sink} />)}
        <Line name="Published">{counted(delivery.published, "alert")} since the start{delivery.refused > 0 && <Amber>; {count(delivery.refused)} refused</Amber>}</Line>
        <Line name="Outbox">
          {outbox.on_disk ? "on disk" : <Amber>in memory only{outbox.why && `: ${outbox.why}`}</Amber>}; {outbox.waiting === 1 ? "1 alert waits" : `${count(outbox.waiting)} alerts wait`}
        </Line>
        {outbox.dropped + outbox.snapshots_dropped > 0 && (
          <Line name="Dropped"><Amber>{counted(outbox.dropped, "alert")}, {counted(outbox.snapshots_dropped, "snapshot")}</Amber></Line>
        )}
      </Lines>
    </Card>
  );
}

const SINKS: Record<string, string> = { mqtt: "Broker", webhook: "Webhook", command: "Command" };

function SinkLine({ sink }: { sink: Sink }) {
  const { error } = sink;
  return (
    <Line name={SINKS[sink.name] ?? sink.name}>
      {sink.waiting === 0 ? "nothing waits" : `${count(sink.waiting)} wait`}
      {sink.waiting > 0 && sink.oldest_s != null && `, the oldest for ${duration(sink.oldest_s)}`}
      {error && (error.is_over
        ? <span class="muted">; last error <Time at={error.at} />: {error.cause}</span>
        : <Amber>; <Time at={error.at} />: {error.cause}</Amber>)}
    </Line>
  );
}

/** What is remembered. */
export function HistoryCard({ history }: { history: Facts["history"] }) {
  if (!history) {
    return <Card title="History"><p class="muted">Nothing is remembered: the history is off, or the service is starting.</p></Card>;
  }
  const { entries } = history;
  return (
    <Card title="History" actions={<State isWell={history.failing == null} well="works" other="does not work" />}>
      <Lines>
        {history.failing != null && <Line name="Fault"><Amber>{history.failing}</Amber></Line>}
        <Line name="Size">{bytes(history.bytes)}{history.max_bytes > 0 && ` of ${bytes(history.max_bytes)}`}</Line>
        {history.max_bytes > 0 && <Bar label="Size of the history" part={history.bytes} whole={history.max_bytes} />}
        {entries?.oldest && <Line name="Oldest"><Time at={entries.oldest} />; kept for {duration(history.keep_s)}</Line>}
        {entries && <Line name="Holds">{counted(entries.alerts, "alert")}, {counted(entries.near_misses, "near miss", "near misses")}, {counted(entries.pictures, "picture")}</Line>}
        {entries && entries.marks > 0 && <Line name="Marks">{count(entries.marks)}</Line>}
        {entries && entries.embeddings > 0 && <Line name="Search">{counted(entries.embeddings, "embedding")}</Line>}
        {history.dropped > 0 && <Line name="Deleted early">{counted(history.dropped, "entry", "entries")}, for want of space</Line>}
      </Lines>
    </Card>
  );
}

/** Disk, memory, open files, and what decodes pictures. */
export function ResourcesCard({ facts }: { facts: Facts }) {
  const { disk, process, decoders } = facts;
  return (
    <Card title="Disk and memory">
      <Lines>
        {disk && <Line name="Disk">{disk.almost_full ? <Amber>{bytes(disk.free)} of {bytes(disk.total)} free</Amber> : `${bytes(disk.free)} of ${bytes(disk.total)} free`}</Line>}
        {disk && <Bar label="Used part of the disk" part={disk.total - disk.free} whole={disk.total} />}
        {disk && <Line name="State folder">{disk.folder}</Line>}
        {process.memory != null && <Line name="Memory">{bytes(process.memory)}</Line>}
        {process.open_files != null && <Line name="Open files">{count(process.open_files)}{process.most_open_files != null && ` of ${count(process.most_open_files)}`}</Line>}
        <Line name="Decoders">{bytes(decoders.used)} of {bytes(decoders.total)} in use{decoders.waiting > 0 && `; ${count(decoders.waiting)} wait`}</Line>
        <Line name="Sandbox">{SANDBOX[decoders.sandbox]}{decoders.crashes > 0 && <Amber>; {counted(decoders.crashes, "crash", "crashes")}</Amber>}</Line>
      </Lines>
    </Card>
  );
}

const SANDBOX: Record<Facts["decoders"]["sandbox"], string> = {
  unknown: "not started yet",
  on: "on: pictures are decoded in processes without rights",
  off: "off, as the configuration says",
  impossible: "not possible here",
};

/** The machine, its clock and its sources. */
export function MachineCard({ facts }: { facts: Facts }) {
  const { platform, clock, sources } = facts;
  const faulty = sources.offline + sources.stalled;
  return (
    <Card title="Machine and sources" actions={<State isWell={faulty === 0} well={`${count(sources.online)} online`} other={`${count(faulty)} not online`} />}>
      <Lines>
        <Line name="Sources">
          <a href={link("live")}>{counted(sources.online, "source")} online</a>
          {sources.offline > 0 && <Amber>, {count(sources.offline)} offline</Amber>}
          {sources.stalled > 0 && <Amber>, {count(sources.stalled)} stalled</Amber>}
        </Line>
        <Line name="System">{platform.system}</Line>
        <Line name="Kernel">{platform.kernel}, {platform.architecture}</Line>
        <Line name="Processors">{count(platform.processors)}</Line>
        <Line name="Clock"><Time at={clock.now} />, {clock.synchronised ? "synchronised" : <Amber>not synchronised</Amber>}</Line>
      </Lines>
    </Card>
  );
}

function Lines({ children }: { children: ComponentChildren }) {
  return <dl class="system-lines">{children}</dl>;
}

function Line({ name, children }: { name: string; children: ComponentChildren }) {
  return <div><dt>{name}</dt><dd>{children}</dd></div>;
}

function Amber({ children }: { children: ComponentChildren }) {
  return <span class="problem-text">{children}</span>;
}

function State({ isWell, well, other }: { isWell: boolean; well: string; other: string }) {
  return <Tag kind={isWell ? "right" : "problem"}>{isWell ? well : other}</Tag>;
}

/** How much of something is used. */
function Bar({ label, part, whole }: { label: string; part: number; whole: number }) {
  return (
    <div class="system-bar">
      <dt class="hidden">{label}</dt>
      <dd><progress aria-label={label} max={1} value={whole > 0 ? Math.min(part / whole, 1) : 0} /></dd>
    </div>
  );
}

function milliseconds(value: number): string {
  return value < 10 ? `${value.toFixed(1)} ms` : `${Math.round(value)} ms`;
}
