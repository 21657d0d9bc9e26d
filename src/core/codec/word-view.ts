/**
 * Bytes that are copied and compared in short pieces, by words of four bytes: a loop over bytes takes about three times as long,
 * and for pieces this short so does the view that `set` of a byte array needs.
 */
const DIGEST_BYTES = 32;
const WORD_BYTES = 4;
/** From here on `set` is faster. */
const LOOP_BYTES_MAX = 64;

/** A byte array with a view on its words. Words are copied as they are, so the order of their bytes does not matter. */
export class WordView {
  readonly bytes: Uint8Array;
  readonly view: DataView;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  /** Copies a digest of 32 bytes from a place of this to one of another. */
  copyDigest(from: number, target: WordView, at: number): void {
    const [source, words] = [this.view, target.view];
    for (let offset = 0; offset < DIGEST_BYTES; offset += WORD_BYTES)
      words.setInt32(at + offset, source.getInt32(from + offset, true), true);
  }

  /** Copies so many bytes from a place of this to one of another. */
  copy(from: number, length: number, target: WordView, at: number): void {
    if (length > LOOP_BYTES_MAX) {
      target.bytes.set(this.bytes.subarray(from, from + length), at);
      return;
    }
    const [source, words] = [this.view, target.view];
    let offset = 0;
    for (; offset + WORD_BYTES <= length; offset += WORD_BYTES)
      words.setInt32(at + offset, source.getInt32(from + offset, true), true);
    for (; offset < length; offset++) words.setUint8(at + offset, source.getUint8(from + offset));
  }

  /** Whether the same digest of 32 bytes stands in both, each from a place of its own on. Not constant-time. */
  hasDigest(at: number, other: WordView, from: number): boolean {
    const [left, right] = [this.view, other.view];
    if (at + DIGEST_BYTES > left.byteLength || from + DIGEST_BYTES > right.byteLength) return false;
    for (let offset = 0; offset < DIGEST_BYTES; offset += WORD_BYTES)
      if (left.getInt32(at + offset, true) !== right.getInt32(from + offset, true)) return false;
    return true;
  }
}
