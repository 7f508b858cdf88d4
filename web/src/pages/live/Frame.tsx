import type { ComponentChildren } from "preact";
import type { LiveSource } from "./model";
import type { LivePicture } from "./store";

/** The shape of the box on a card. */
const CARD_RATIO = 16 / 9;

/**
 * The newest picture of a source, with its regions and what changed drawn over it. On a card it fills the box, and what is outside is cut
 * off; `whole` shows everything.
 */
export function Frame({ source, picture, badges, whole }: {
  source: LiveSource;
  picture?: LivePicture;
  badges?: ComponentChildren;
  whole?: boolean;
}) {
  const { width = 0, height = 0 } = source.frame ?? {};
  const ratio = width > 0 && height > 0 ? width / height : CARD_RATIO;
  const fit = whole ? "whole" : ratio > CARD_RATIO ? "wide" : "tall";
  const regions = source.regions.map((region) => ({ ...region, kind: "region" }));
  const changed = picture?.changed ? [{ ...picture.changed, name: "", kind: "change" }] : [];
  const alt = picture ? `${source.source}, newest picture` : "";
  return (
    <figure class={`live-box ${whole ? "live-box-whole" : ""}`}>
      <div class={`live-frame live-frame-${fit}`} style={{ aspectRatio: String(ratio) }}>
        {picture ? <img src={picture.src} alt={alt} decoding="async" /> : <span class="picture-none">{none(source)}</span>}
        {picture && [...regions, ...changed].map((area) => (
          <span
            key={`${area.kind} ${area.name}`}
            class={`picture-region picture-${area.kind}`}
            style={{ left: share(area.x), top: share(area.y), width: share(area.width), height: share(area.height) }}
          >
            {area.name && <span>{area.name}</span>}
          </span>
        ))}
      </div>
      {badges !== undefined && <span class="picture-badges">{badges}</span>}
    </figure>
  );
}

function share(part: number): string {
  return `${(part * 100).toFixed(2)}%`;
}

function none(source: LiveSource): string {
  return source.frame ? "" : "no frame yet";
}
