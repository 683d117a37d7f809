/** The end of a list of which more can be asked for. */

import type { Paged } from "../api/paged";
import * as format from "../format";
import { Empty, ProblemView } from "./panel";

export function More<T>({ paged, none }: { paged: Paged<T>; none: string }) {
  return (
    <>
      {paged.answer.data && paged.items.length === 0 && <Empty>{none}</Empty>}
      {paged.problem && <ProblemView problem={paged.problem} kept />}
      {paged.more && (
        <p class="more">
          <span class="muted">{format.count(paged.items.length)} shown.</span>{" "}
          <button type="button" onClick={paged.more}>
            Show more
          </button>
        </p>
      )}
    </>
  );
}
