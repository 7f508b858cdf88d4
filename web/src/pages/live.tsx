// Every source as it is now: its newest picture, what is wrong with it, and the scores of its labels. Events keep it up to date.

import { useEffect, useMemo, useState } from "preact/hooks";
import type { ApiError } from "../api";
import { onAlert, onSource } from "../events";
import { Chips } from "../parts/Chip";
import { Empty } from "../parts/Empty";
import { Heading } from "../parts/Heading";
import { Problem } from "../parts/Problem";
import { asApiError } from "../request";
import { link, useQuery } from "../router";
import { SourceCard } from "./live/SourceCard";
import { SourceSheet } from "./live/SourceSheet";
import { isShown } from "./live/model";
import { LiveStore } from "./live/store";

/** Filters are offered for this number of sources or more. */
const MANY = 6;
const FILTERS = [
  { value: "", text: "All" },
  { value: "raised", text: "Raised" },
  { value: "problems", text: "Problems" },
] as const;

export default function Page() {
  const [query, setQuery] = useQuery();
  const [names, setNames] = useState<string[]>();
  const [error, setError] = useState<ApiError>();
  const store = useMemo(() => {
    const loaded = (now: string[]) => {
      setNames(now);
      setError(undefined);
    };
    return new LiveStore(loaded, (thrown) => setError(asApiError(thrown)));
  }, []);
  useEffect(() => {
    store.start();
    return () => store.end();
  }, [store]);
  const retry = () => {
    setError(undefined);
    void store.reload();
  };
  const filter = FILTERS.find((option) => option.value === query["show"])?.value ?? "";
  useChangesOfFilter(filter !== "");
  const opened = query["source"];
  const shown = names?.filter((name) => {
    const source = store.get(name)?.source;
    return source && isShown(source, filter);
  });
  // The same list is not compared again when only the opened source changes.
  const cards = useMemo(
    () => shown?.map((name) => <SourceCard key={name} store={store} name={name} filter={filter} />),
    [store, filter, JSON.stringify(shown)],
  );
  return (
    <>
      <Heading title="Live" aside={<a href={link("start")}>Add a camera</a>}>
        {(names?.length ?? 0) >= MANY && (
          <Chips label="Which sources" value={filter} options={FILTERS} onChange={(show) => setQuery({ show })} />
        )}
      </Heading>
      {error && <Problem error={error} onRetry={retry} />}
      {shown && shown.length > 0 && (
        <ul class="grid live-grid">{cards}</ul>
      )}
      {names?.length === 0 && (opened === undefined ? <FirstVisit /> : <Empty title={`${opened} is being started.`} />)}
      {names && names.length > 0 && shown?.length === 0 && <Empty title={filter === "raised" ? "Nothing is raised." : "Every source delivers."} />}
      {opened !== undefined && names?.includes(opened) && (
        <SourceSheet key={opened} store={store} name={opened} onClose={() => setQuery({ source: undefined })} />
      )}
    </>
  );
}

/** Without sources, the first steps are shown at once. */
function FirstVisit() {
  useEffect(() => location.replace(link("start")), []);
  return <Empty title="There are no sources yet."><a class="button button-primary" href={link("start")}>Add a camera</a></Empty>;
}

/** Renders the page when a change may add a card to a filtered list, or remove one, at most once a second. */
function useChangesOfFilter(isFiltered: boolean) {
  const [, render] = useState(0);
  useEffect(() => {
    if (!isFiltered) return;
    let timer: number | undefined;
    const changed = () => {
      timer ??= window.setTimeout(() => {
        timer = undefined;
        render((before) => before + 1);
      }, 1_000);
    };
    const ends = [onAlert(changed), onSource(changed)];
    return () => {
      clearTimeout(timer);
      ends.forEach((end) => end());
    };
  }, [isFiltered]);
}
