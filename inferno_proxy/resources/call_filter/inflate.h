/* Unpacks the beginning of a gzip (RFC 1952) or zlib (RFC 1950) stream, for call_filter.c: as much as has arrived, up to
 * the size of the output buffer. Checksums come at the end of a stream and are left to the model server. */

enum { UNPACKED_LIMIT = 64 * 1024, LONGEST_CODE = 15 };

static u8 unpacked[UNPACKED_LIMIT];

/* Bits come from the lowest of each byte first. Reading past the end sets `starved` and yields zeros. */
typedef struct {
  cursor in;
  u32 bits, held;
  int starved;
  u32 size; /* bytes in `unpacked` */
} inflater;

static u32 take(inflater *it, u32 count) {
  while (it->held < count) {
    if (it->in.at == it->in.end) {
      it->starved = 1;
      return 0;
    }
    it->bits |= (u32)*it->in.at++ << it->held;
    it->held += 8;
  }
  u32 value = it->bits & ((1u << count) - 1);
  it->bits >>= count;
  it->held -= count;
  return value;
}

/* A canonical Huffman code: how many codes there are of each length, and the symbols in the order of their codes. */
typedef struct {
  unsigned short count[LONGEST_CODE + 1], symbol[288];
} code;

static void make_code(code *made, const u8 *lengths, u32 symbols) {
  unsigned short next[LONGEST_CODE + 2];
  for (u32 i = 0; i <= LONGEST_CODE; i++) made->count[i] = 0;
  for (u32 i = 0; i < symbols; i++) made->count[lengths[i]]++;
  made->count[0] = next[1] = 0;
  for (u32 i = 1; i <= LONGEST_CODE; i++) next[i + 1] = (unsigned short)(next[i] + made->count[i]);
  for (u32 i = 0; i < symbols; i++)
    if (lengths[i]) made->symbol[next[lengths[i]]++] = (unsigned short)i;
}

/* The next symbol, or 288 when the bits are no code or have run out. */
static u32 decode(inflater *it, const code *with) {
  int value = 0, first = 0, index = 0;
  for (u32 length = 1; length <= LONGEST_CODE; length++) {
    value |= (int)take(it, 1);
    if (it->starved) return 288;
    int count = with->count[length];
    if (value - count < first) return with->symbol[index + value - first];
    index += count;
    first = (first + count) << 1;
    value <<= 1;
  }
  return 288;
}

static int emit(inflater *it, u8 byte) {
  if (it->size == UNPACKED_LIMIT) return 0;
  unpacked[it->size++] = byte;
  return 1;
}

/* Literals and copies until the end of the block: DONE, MORE (input or room has run out) or BROKEN. */
static int read_block(inflater *it, const code *literals, const code *distances) {
  for (;;) {
    u32 symbol = decode(it, literals);
    if (it->starved) return MORE;
    if (symbol < 256) {
      if (!emit(it, (u8)symbol)) return MORE;
      continue;
    }
    if (symbol == 256) return DONE;
    if (symbol > 285) return BROKEN;
    /* Lengths 3..10 stand for themselves; from 265 on, four symbols share each number of extra bits; 285 is 258. */
    u32 step = symbol - 257, extra = step < 8 || step == 28 ? 0 : step / 4 - 1;
    u32 length = step < 8 ? step + 3 : step == 28 ? 258 : ((4 + step % 4) << extra) + 3;
    length += take(it, extra);
    u32 way = decode(it, distances);
    if (it->starved) return MORE;
    if (way > 29) return BROKEN;
    extra = way < 4 ? 0 : way / 2 - 1;
    u32 distance = way < 4 ? way + 1 : ((2 + way % 2) << extra) + 1;
    distance += take(it, extra);
    if (it->starved) return MORE;
    if (distance > it->size) return BROKEN;
    while (length--)
      if (!emit(it, unpacked[it->size - distance])) return MORE;
  }
}

static int read_stored(inflater *it) {
  it->bits = it->held = 0; /* the rest of the byte is padding */
  u32 length = take(it, 16), inverse = take(it, 16);
  if (it->starved) return MORE;
  if ((length ^ inverse) != 0xffff) return BROKEN;
  while (length--) {
    if (it->in.at == it->in.end || !emit(it, *it->in.at)) return MORE;
    it->in.at++;
  }
  return DONE;
}

static int read_fixed(inflater *it) {
  static code literals, distances;
  u8 lengths[288];
  for (u32 i = 0; i < 288; i++) lengths[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
  make_code(&literals, lengths, 288);
  for (u32 i = 0; i < 30; i++) lengths[i] = 5;
  make_code(&distances, lengths, 30);
  return read_block(it, &literals, &distances);
}

static int read_dynamic(inflater *it) {
  static const u8 order[19] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
  static code literals, distances;
  u8 lengths[286 + 30] = {0};
  u32 literal_count = take(it, 5) + 257, distance_count = take(it, 5) + 1, order_count = take(it, 4) + 4;
  if (literal_count > 286 || distance_count > 30) return BROKEN;
  for (u32 i = 0; i < order_count; i++) lengths[order[i]] = (u8)take(it, 3);
  make_code(&literals, lengths, 19);
  u32 total = literal_count + distance_count;
  for (u32 i = 0; i < total;) {
    u32 symbol = decode(it, &literals);
    if (it->starved) return MORE;
    if (symbol < 16) {
      lengths[i++] = (u8)symbol;
      continue;
    }
    if (symbol > 18 || (symbol == 16 && i == 0)) return BROKEN;
    u8 repeated = symbol == 16 ? lengths[i - 1] : 0;
    u32 times = symbol == 16 ? take(it, 2) + 3 : symbol == 17 ? take(it, 3) + 3 : take(it, 7) + 11;
    if (it->starved) return MORE;
    if (times > total - i) return BROKEN;
    while (times--) lengths[i++] = repeated;
  }
  make_code(&literals, lengths, literal_count);
  make_code(&distances, lengths + literal_count, distance_count);
  return read_block(it, &literals, &distances);
}

/* Past the header of a gzip or zlib stream. gRPC's writers set no optional gzip field. */
static int skip_header(inflater *it) {
  u32 first = take(it, 8), second = take(it, 8);
  if (first == 0x1f && second == 0x8b) {
    u32 method = take(it, 8), flags = take(it, 8);
    for (u32 i = 0; i < 6; i++) take(it, 8);
    if (it->starved) return MORE;
    return method == 8 && flags == 0 ? DONE : BROKEN;
  }
  if (it->starved) return MORE;
  return (first & 15) == 8 && (first << 8 | second) % 31 == 0 && !(second & 32) ? DONE : BROKEN;
}

/* Unpacks into `unpacked` and sets `size`. DONE: the stream is whole. */
static int inflate(cursor in, u32 *size) {
  inflater it = {in, 0, 0, 0, 0};
  int state = skip_header(&it);
  for (u32 last = 0; state == DONE && !last;) {
    last = take(&it, 1);
    u32 kind = take(&it, 2);
    if (it.starved) state = MORE;
    else if (kind == 0) state = read_stored(&it);
    else if (kind == 1) state = read_fixed(&it);
    else if (kind == 2) state = read_dynamic(&it);
    else state = BROKEN;
  }
  *size = it.size;
  return state;
}
