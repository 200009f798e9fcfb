/** The page's looks: light and dark by what the reader's system says, and for paper. */
export const style = `
:root { color-scheme: light dark;
  --ground: #f6f7f9; --card: #ffffff; --ink: #16202e; --soft: #5b6778; --line: #dfe4ea; --faint: #eef1f5;
  --old: #d9822b; --new: #0f8f86; --planned: #b9c1cc; --forwarding: #4c7fe0; --moving: #e0a100; --moved: #0f8f86;
  --finalized: #47546a; --good: #12805c; --bad: #c2352b; --accent: #3558c8; }
@media (prefers-color-scheme: dark) { :root {
  --ground: #0e131a; --card: #161d27; --ink: #e6ebf2; --soft: #97a4b5; --line: #2a3442; --faint: #1d2632;
  --old: #e8994a; --new: #35b8ad; --planned: #4a5666; --forwarding: #6d9bf2; --moving: #e8b93a; --moved: #35b8ad;
  --finalized: #8b9bb3; --good: #4cc596; --bad: #f0766c; --accent: #8fa9f5; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 40px 24px 64px; }
header .kicker { margin: 0; color: var(--soft); font-size: 13px; letter-spacing: .08em; text-transform: uppercase; }
h1 { margin: 2px 0 4px; font-size: 32px; line-height: 1.2; letter-spacing: -.01em; }
header .when { margin: 0; color: var(--soft); }
h2 { margin: 44px 0 12px; font-size: 19px; letter-spacing: -.005em; }
h3 { margin: 20px 0 8px; font-size: 15px; }
p { margin: 0 0 12px; }
.hint { color: var(--soft); max-width: 78ch; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(168px, 1fr)); gap: 12px; margin: 26px 0 0; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 14px 16px; }
.tile b { display: block; font-size: 24px; line-height: 1.25; font-variant-numeric: tabular-nums; letter-spacing: -.01em; }
.tile span { color: var(--soft); font-size: 13px; }
.tile.good b { color: var(--good); } .tile.bad b { color: var(--bad); }
figure, .card { margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 14px 16px; }
.card { padding: 4px 16px; overflow-x: auto; }
figcaption { color: var(--soft); font-size: 13px; } figcaption b { color: var(--ink); }
.small { display: grid; grid-template-columns: repeat(auto-fit, minmax(430px, 1fr)); gap: 12px; margin-top: 12px; }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--soft); font-size: 12px; font-variant-numeric: tabular-nums; } svg .label { fill: var(--ink); font-size: 13px; }
.axis line { stroke: var(--line); stroke-width: 1; }
rect.old, i.old { fill: var(--old); background: var(--old); } rect.new, i.new { fill: var(--new); background: var(--new); }
.planned { fill: var(--planned); background: var(--planned); } .forwarding { fill: var(--forwarding); background: var(--forwarding); }
.moving { fill: var(--moving); background: var(--moving); } .moved { fill: var(--moved); background: var(--moved); }
.finalized { fill: var(--finalized); background: var(--finalized); }
.run line { stroke: var(--soft); stroke-dasharray: 2 3; opacity: .55; } .run path { fill: var(--soft); }
.run.bad line { stroke: var(--bad); } .run.bad path { fill: var(--bad); }
.cut line { stroke: var(--ink); stroke-width: 1.5; stroke-dasharray: 4 3; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 0 0 8px; color: var(--soft); font-size: 13px; }
.legend i { display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin-right: 6px; vertical-align: -1px; }
.legend i.mark { background: none; border: 5px solid transparent; border-top: 8px solid var(--soft); border-bottom: 0; width: 0; height: 0; border-radius: 0; vertical-align: 1px; }
.legend i.cut { width: 0; border-left: 2px dashed var(--ink); border-radius: 0; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th { text-align: left; color: var(--soft); font-weight: 500; font-size: 13px; padding: 9px 14px 7px 0; border-bottom: 1px solid var(--line); white-space: nowrap; }
td { padding: 8px 14px 8px 0; border-bottom: 1px solid var(--faint); vertical-align: top; }
tr:last-child > td { border-bottom: 0; } th:last-child, td:last-child { padding-right: 0; }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.w { white-space: nowrap; font-variant-numeric: tabular-nums; }
.chip { display: inline-block; padding: 1px 9px; border-radius: 99px; font-size: 12.5px; background: var(--faint); white-space: nowrap; }
.chip::before { content: ""; display: inline-block; width: 8px; height: 8px; border-radius: 50%; margin-right: 6px; background: var(--dot, var(--soft)); }
.chip.s-planned { --dot: var(--planned); } .chip.s-forwarding { --dot: var(--forwarding); } .chip.s-moving { --dot: var(--moving); }
.chip.s-moved { --dot: var(--moved); } .chip.s-finalized { --dot: var(--finalized); }
.ok { color: var(--good); } .no { color: var(--bad); font-weight: 600; }
code, pre { font: 13px/1.5 ui-monospace, "SF Mono", "Cascadia Mono", "DejaVu Sans Mono", Menlo, Consolas, monospace; }
pre { margin: 0; padding: 12px 16px; background: var(--card); border: 1px solid var(--line); border-radius: 10px; overflow-x: auto; white-space: pre; }
details { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 0 16px; margin: 0 0 8px; }
summary { cursor: pointer; padding: 10px 0; } summary:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
details[open] > summary { border-bottom: 1px solid var(--line); } details .scroll { overflow-x: auto; padding: 0 0 6px; }
summary .right { float: right; color: var(--soft); font-size: 13px; }
ul.steps { margin: 0; padding: 0; list-style: none; } ul.steps li { overflow-wrap: anywhere; font-size: 13.5px; }
footer { margin-top: 48px; color: var(--soft); font-size: 13px; border-top: 1px solid var(--line); padding-top: 14px; }
@media (max-width: 640px) { main { padding: 24px 14px 40px; } h1 { font-size: 26px; } .small { grid-template-columns: 1fr; } }
@media print {
  :root { --ground: #fff; --card: #fff; --ink: #000; --soft: #444; --line: #bbb; --faint: #e6e6e6; color-scheme: light;
    --old: #d9822b; --new: #0f8f86; --planned: #b9c1cc; --forwarding: #4c7fe0; --moving: #e0a100; --moved: #0f8f86;
    --finalized: #47546a; --good: #12805c; --bad: #b3261e; }
  * { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  body { font-size: 10.5pt; } main { max-width: none; padding: 0; } h2 { break-after: avoid; margin-top: 26px; }
  figure, .tile, tr, pre { break-inside: avoid; } .tiles { grid-template-columns: repeat(5, 1fr); } .small { grid-template-columns: 1fr 1fr; }
  table { font-size: 8.5pt; } td, th { padding-right: 8px; } pre { white-space: pre-wrap; }
  details { border: 0; padding: 0; } details::details-content { content-visibility: visible; display: block; }
  .card { overflow: visible; }
}
@page { margin: 16mm 14mm; }
`
