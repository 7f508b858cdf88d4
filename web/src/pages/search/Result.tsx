import { duration } from "../../format";
import { Picture } from "../../parts/Picture";
import { Time } from "../../parts/Time";
import { link } from "../../router";
import type { Match } from "./find";

/** An event that was found. `highest` is the lift of the best one, for the bar. */
export function Result({ match, highest, onLabel }: { match: Match; highest: number; onLabel: () => void }) {
  const seconds = (Date.parse(match.last) - Date.parse(match.first)) / 1000;
  const like = { like: match.source, at: match.time, region: match.region ?? undefined, picture: match.picture ?? undefined };
  const share = highest > 0 ? Math.min(1, Math.max(0, match.lift / highest)) : 0;
  return (
    <li class="card card-flush result">
      <Picture address={match.picture} alt={`${match.source} at ${new Date(match.time).toLocaleString()}`} />
      <div class="result-text">
        <p class="spread">
          <strong>{match.source}</strong>
          <span class="muted"><Time at={match.time} /></span>
        </p>
        <p class="muted small">
          {seconds >= 1 ? `lasted ${duration(seconds)}` : "one frame"}
          {match.region != null && <>, in {match.region}</>}
        </p>
        <p class="lift" title="How much more similar than usual for this source, in standard deviations">
          <svg viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">
            <rect class="lift-part" width={share * 100} height="6" />
          </svg>
          <span><span class="hidden">lift </span>{match.lift.toFixed(1)}</span>
        </p>
        <p class="row">
          <a class="button" href={link("search", like)}>Find similar</a>
          <button type="button" class="button" onClick={onLabel}>Make a label</button>
        </p>
      </div>
    </li>
  );
}
