/* Names a request by its content, for call_filter.c, so that one that kills nodes can be told from all others.
 *
 * The name is a hash of the tensors' size and their first KiB, in 16 hexadecimal digits. The caller's id for the request
 * and its parameters are not in it: the same request is often sent again under another id. The hash serves no secret: who
 * can make two requests collide could as well send the one that does harm.
 *
 * A REST call has one only where the route's metadata says so: `inferno.fingerprint`: {wanted: "only"}, or "also" when its
 * sequence id is read as well. It is then of the body, and so of the caller's id too.
 */

static int fingerprints; /* they are wanted */

enum { HASHED = 1024 };
static const char FINGERPRINT[] = "x-inferno-fingerprint";

static int may_be_fingerprinted(call *found) {
  if (!fingerprints || !found->tensors.size || found->tensors.size >= HASHED) return 1;
  return found->tensors.size >= found->tensors_size && found->tensors_size;
}

/* The step of a multiply-and-fold hash; the constant is the golden ratio's. */
static u64 stir(u64 hash, u64 value) {
  hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
  return hash ^ hash >> 29;
}

static void set_fingerprint(call *found) {
  static const char digits[] = "0123456789abcdef";
  if (!fingerprints) return;
  if (!found->tensors.size) {
    proxy_remove_header_map_value(REQUEST_HEADERS, FINGERPRINT, sizeof FINGERPRINT - 1);
    return;
  }
  u32 size = found->tensors.size < HASHED ? found->tensors.size : HASHED, at = 0;
  u64 hash = stir(1, found->tensors_size), part = 0;
  for (; at + 8 <= size; at += 8) {
    __builtin_memcpy(&part, found->tensors.at + at, 8);
    hash = stir(hash, part);
  }
  for (part = 0; at < size; at++) part = part << 8 | found->tensors.at[at];
  hash = stir(stir(hash, part), size);
  u8 text[16];
  for (u32 i = 0; i < 16; i++) text[i] = (u8)digits[hash >> (60 - 4 * i) & 15];
  proxy_replace_header_map_value(REQUEST_HEADERS, FINGERPRINT, sizeof FINGERPRINT - 1, text, sizeof text);
}

enum { NOT_HASHED, ONLY_HASHED, ALSO_HASHED };

/* What the route of a REST call wants. */
static u32 hashing(void) {
  static const char WANTED[] = "xds\0route_metadata\0filter_metadata\0inferno.fingerprint\0wanted";
  span value = {0, 0};
  if (!fingerprints || proxy_get_property((const u8 *)WANTED, sizeof WANTED - 1, &value.at, &value.size)) return NOT_HASHED;
  return IS(value, "only") ? ONLY_HASHED : IS(value, "also") ? ALSO_HASHED : NOT_HASHED;
}

/* Takes a REST call's body for its tensors; 0 while too little of it has arrived. */
static int hash_body(const u8 *at, u32 size, call *found) {
  span length = HEADER("content-length");
  found->tensors = (span){at, size};
  for (u32 i = 0; i < length.size && i < 9; i++) found->tensors_size = found->tensors_size * 10 + (length.at[i] - '0');
  return size && may_be_fingerprinted(found);
}
