import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { pictureUrl } from "../api";
import { score as digits } from "../format";

/** A part of the picture, in shares of its width and height from the left and the top. */
export interface Region {
  name: string;
  left: number;
  top: number;
  width: number;
  height: number;
  /** `region`: it has scores of its own. `change`: what changed there. `raised`: the region of an alert. */
  kind?: "region" | "change" | "raised";
}

interface Props {
  /** The address of the API, as answers give it. */
  address?: string | null;
  /** Or a whole address, such as `blob:...`. */
  src?: string;
  /** What it shows, for screen readers. */
  alt: string;
  /** The score in the lower left corner. */
  score?: number | null;
  /** At the upper left: raised labels. */
  badges?: ComponentChildren;
  /** At the upper right: `new`. */
  corner?: ComponentChildren;
  regions?: readonly Region[];
  /** `cover` fills the box and cuts what is outside; `contain` shows everything. */
  fit?: "cover" | "contain";
  /** Load at once, for pictures at the top of the page. */
  eager?: boolean;
}

/** A picture with its score, badges and regions. Where the picture is gone, it says so. */
export function Picture({ address, src, alt, score, badges, corner, regions, fit = "cover", eager }: Props) {
  const source = src ?? (address ? pictureUrl(address) : undefined);
  const [isGone, setGone] = useState(false);
  useEffect(() => setGone(false), [source]);
  return (
    <figure class={`picture picture-${fit}`}>
      {source !== undefined && !isGone ? (
        <img src={source} alt={alt} loading={eager ? "eager" : "lazy"} decoding="async" onError={() => setGone(true)} />
      ) : (
        <span class="picture-none">{source === undefined ? "no picture" : "the picture is not kept any more"}</span>
      )}
      {regions?.map((region) => (
        <span
          key={`${region.kind ?? "region"} ${region.name}`}
          class={`picture-region picture-${region.kind ?? "region"}`}
          style={{
            left: `${region.left * 100}%`,
            top: `${region.top * 100}%`,
            width: `${region.width * 100}%`,
            height: `${region.height * 100}%`,
          }}
        >
          {region.kind !== "change" && <span>{region.name}</span>}
        </span>
      ))}
      {badges !== undefined && <span class="picture-badges">{badges}</span>}
      {corner !== undefined && <span class="picture-corner">{corner}</span>}
      {score !== undefined && score !== null && <span class="picture-score">{digits(score)}</span>}
    </figure>
  );
}
