// Mends what is wrong in mpegts.js as npm has it: mend.mjs FROM TO. Each fault has to be there exactly once; where a new
// version has it no more, it leaves this list.
import { readFileSync, writeFileSync } from 'node:fs';

// The header of an AV1 frame is read otherwise than section 5.9.2 of AV1's specification says, so that at most key frames
// the size is wrong, or the player ends (mpegts.js, issue 245).
const faults = [
  // showable_frame is there where the frame is not shown.
  ['l&&o.readBool(),u=!!(3===d', 'l||o.readBool(),u=!!(3===d'],
  // ref_order_hint is not there in key frames.
  ['(_||255!==g)&&u&&r.enable_order_hint', '(!_||255!==g)&&u&&r.enable_order_hint'],
  // render_width_minus_1 and render_height_minus_1 have 16 bits.
  ['var l=e.readBits(16)+1,u=e.readBits(16)+1;d=e.readBits(l)+1,_=e.readBits(u)+1', 'd=e.readBits(16)+1,_=e.readBits(16)+1'],
  // Words for its authors at each key frame.
  ['console.log(r),1===r?', '1===r?'],
  ['console.log(h),c.codecWidth=', 'c.codecWidth='],
];

const [from, to] = process.argv.slice(2);
let text = readFileSync(from, 'utf8');
for (const [fault, mended] of faults) {
  if (text.split(fault).length !== 2) throw new Error(`${from} does not have this once: ${fault}`);
  text = text.replace(fault, () => mended);
}
writeFileSync(to, `/*! Changed by rrelay: AV1 frame headers are read as they are specified. */\n${text}`);
