/* Makes a call that names an alias a call of the alias's target, for call_filter.c.
 *
 * The route that a call has before its name is known (or, over REST, that of the alias's path) carries the aliases in its
 * metadata, `inferno.aliases`: {ALIAS: {model: NAME, version: "2", stateful: "yes"}}, the last two only where they apply.
 * Over gRPC NAME is the model's name, over REST the way a path spells it.
 */

static int aliases; /* some are configured */

static struct {
  u8 name[256], model[VALUE_LIMIT], version[64];
  u32 name_size, model_size, version_size;
  int stateful;
} alias; /* the one found last */

static void copy(u8 *to, const u8 *from, u32 size) {
  for (u32 i = 0; i < size; i++) to[i] = from[i];
}

/* One entry of an alias in the metadata; its size, 0 when there is none. */
static u32 read_entry(const char *entry, u32 entry_size, u8 *to, u32 limit) {
  static const char TABLE[] = "xds\0route_metadata\0filter_metadata\0inferno.aliases"; /* its final zero is the joint */
  u8 path[sizeof TABLE + sizeof alias.name + 16];
  u32 size = sizeof TABLE;
  copy(path, (const u8 *)TABLE, size);
  copy(path + size, alias.name, alias.name_size);
  size += alias.name_size;
  path[size++] = 0;
  copy(path + size, (const u8 *)entry, entry_size);
  span value = {0, 0};
  if (proxy_get_property(path, size + entry_size, &value.at, &value.size) || value.size > limit) return 0;
  copy(to, value.at, value.size);
  return value.size;
}
#define READ_ENTRY(entry, to) read_entry(entry, sizeof entry - 1, to, sizeof to)

/* True when the route knows this name as an alias, which `alias` then holds. To be asked before the first change of a
 * header: after it the call has another route. */
static int find_alias(span name) {
  u8 yes[4];
  if (!aliases || !name.size || name.size > sizeof alias.name) return 0;
  for (u32 i = 0; i < name.size; i++)
    if (!name.at[i]) return 0;
  alias.name_size = name.size;
  copy(alias.name, name.at, name.size);
  alias.model_size = READ_ENTRY("model", alias.model);
  if (!alias.model_size) return 0;
  alias.version_size = READ_ENTRY("version", alias.version);
  alias.stateful = READ_ENTRY("stateful", yes) > 0;
  return 1;
}

/* ------------------------------------------------------------------------------------------------------------ REST */

/* /v2/models/ALIAS... becomes /v2/models/NAME..., with the alias's version unless the path has one. */
static int rename_path(void) {
  static const char MODELS[] = "/v2/models/", VERSIONS[] = "/versions/";
  static u8 path[16 * 1024];
  enum { BEFORE = sizeof MODELS - 1, BETWEEN = sizeof VERSIONS - 1 };
  if (!aliases) return 0;
  span given = HEADER(":path");
  if (given.size < BEFORE || given.size > sizeof path - sizeof alias - BETWEEN) return 0;
  u32 end = BEFORE;
  while (end < given.size && given.at[end] != '/' && given.at[end] != '?') end++;
  if (!find_alias((span){given.at + BEFORE, end - BEFORE})) return 0;
  u32 size = BEFORE;
  copy(path, given.at, size);
  copy(path + size, alias.model, alias.model_size);
  size += alias.model_size;
  int versioned = given.size - end >= BETWEEN && same((span){given.at + end, BETWEEN}, VERSIONS, BETWEEN);
  if (alias.version_size && !versioned) {
    copy(path + size, (const u8 *)VERSIONS, BETWEEN);
    copy(path + size + BETWEEN, alias.version, alias.version_size);
    size += BETWEEN + alias.version_size;
  }
  copy(path + size, given.at + end, given.size - end);
  proxy_replace_header_map_value(REQUEST_HEADERS, ":path", 5, path, size + given.size - end);
  return 1;
}

/* ------------------------------------------------------------------------------------------------------------ gRPC */

static u8 renamed[HOLD_LIMIT + 16 * 1024];
static const char KEPT[] = "inferno.alias"; /* the property that holds a stream's alias between two chunks */
static const char HELD[] = "inferno.alias.held"; /* and the one that holds the beginning of a message, cut by their border */
enum { HELD_LIMIT = 32 * 1024 };

static u32 put_field(u8 *to, u32 number, const u8 *value, u32 size) {
  u32 at = 0;
  to[at++] = (u8)(number << 3 | 2);
  for (u32 left = size; ; left >>= 7) {
    to[at++] = (u8)(left < 0x80 ? left : (left & 0x7f) | 0x80);
    if (left < 0x80) break;
  }
  copy(to + at, value, size);
  return at + size;
}

/* Renames the messages in `in`, whose first `*rest` bytes belong to one that was dealt with.
 *
 * DONE: the first `*used` bytes of `in` are now the first `*made` of `renamed`; what follows stays as it is, and `*rest`
 * bytes of the last message are still to come. MORE: the same, but what follows is the beginning of a message that cannot
 * be renamed yet. BROKEN: one is compressed, or there is no room. What is not a message of the protocol is left to the
 * model server. */
static int rename(span in, int last, u32 *rest, u32 *used, u32 *made) {
  u32 from = 0, to = 0, pass = *rest;
  while (pass < in.size - from) {
    if (to + pass + sizeof alias + 32 > sizeof renamed) return BROKEN;
    copy(renamed + to, in.at + from, pass);
    from += pass;
    to += pass;
    const u8 *frame = in.at + from;
    u32 left = in.size - from;
    call found = {0};
    if (left && frame[0] == 1) return BROKEN;
    int state = read_frame(frame, left, &found);
    *used = from;
    *made = to;
    if (state == MORE && !last) return MORE;
    u32 length = left < 5 ? 0 : (u32)frame[1] << 24 | (u32)frame[2] << 16 | (u32)frame[3] << 8 | frame[4];
    pass = length < 0x7fffffff ? 5 + length : 0xffffffff;
    if (state != DONE || pass == 0xffffffff || !same(found.model, (const char *)alias.name, alias.name_size)) continue;
    u32 before = (u32)(found.named - frame), after = (u32)(found.model.at + found.model.size - frame);
    if (to + before + sizeof alias + 32 > sizeof renamed) return BROKEN;
    u8 *head = renamed + to;
    copy(head, frame, before);
    u32 size = before + put_field(head + before, 1, alias.model, alias.model_size);
    if (alias.version_size && !found.version.size) size += put_field(head + size, 2, alias.version, alias.version_size);
    length = length + size - after;
    for (u32 i = 0; i < 4; i++) head[4 - i] = (u8)(length >> 8 * i);
    from += after;
    to += size;
    pass -= after;
    *used = from;
    *made = to;
  }
  *rest = pass - (in.size - from);
  return DONE;
}

#define REFUSE_ALIAS(stream)                                                                                       \
  (release(stream), REFUSE(415, UNIMPLEMENTED,                                                                     \
                           "a call by an alias cannot be compressed: name the model itself, or do not compress"))

static int is_stream(void) {
  span path = HEADER(":path");
  static const char STREAM[] = "/ModelStreamInfer";
  enum { SIZE = sizeof STREAM - 1 };
  return path.size >= SIZE && same((span){path.at + path.size - SIZE, SIZE}, STREAM, SIZE);
}

/* The first message of a call that names the alias in `alias` has arrived so far that it can be routed. */
static u32 rename_call(u32 stream, const u8 *at, u32 size, u32 buffered, int last, call *found) {
  int more = is_stream();
  if (more && size < buffered) return PAUSE; /* look again, at everything: there may be more messages */
  u32 rest = 0, used = 0, made = 0;
  int state = rename((span){at, size}, last, &rest, &used, &made);
  if (state == BROKEN) return REFUSE_ALIAS(stream);
  if (state == MORE) return PAUSE;
  if (used) proxy_set_buffer_bytes(REQUEST_BODY, 0, used, renamed, made);
  proxy_remove_header_map_value(REQUEST_HEADERS, "content-length", 14);
  found->model = (span){alias.model, alias.model_size};
  if (!more) return let_go(stream, found);
  u8 kept[sizeof alias];
  u32 end = alias.name_size;
  copy(kept, alias.name, end);
  kept[end++] = 0;
  copy(kept + end, alias.model, alias.model_size);
  end += alias.model_size;
  kept[end++] = 0;
  copy(kept + end, alias.version, alias.version_size);
  proxy_set_property(KEPT, sizeof KEPT - 1, kept, end + alias.version_size);
  place *its = find(stream);
  its->renamed = 1;
  its->rest = rest;
  its->held = 0;
  steer(found);
  return CONTINUE;
}

static u32 take_part(span *from, u8 *to) {
  u32 size = 0;
  while (size < from->size && from->at[size]) size++;
  copy(to, from->at, size);
  u32 joint = size < from->size;
  from->at += size + joint;
  from->size -= size + joint;
  return size;
}

/* The beginning of a message that an earlier chunk ended with, and this chunk, in one piece. */
static span join_held(place *its, u32 buffered) {
  static u8 joined[HOLD_LIMIT];
  span held = {0, 0}, in = {0, 0};
  if (its->held + buffered > HOLD_LIMIT) return in;
  if (its->held && (proxy_get_property((const u8 *)HELD, sizeof HELD - 1, &held.at, &held.size) || held.size != its->held))
    return in;
  if (buffered && proxy_get_buffer_bytes(REQUEST_BODY, 0, buffered, &in.at, &in.size)) in.size = 0;
  if (in.size != buffered) return (span){0, 0};
  if (!held.size) return in;
  copy(joined, held.at, held.size);
  copy(joined + held.size, in.at, in.size);
  return (span){joined, held.size + in.size};
}

/* Later messages of a stream that was renamed.
 *
 * Nothing is paused any more: Envoy's router keeps what it was given for another try, in the very buffer in which a paused
 * filter's data waits, so that what was sent would come again. The beginning of a message is taken out of the body
 * instead and put back before the next chunk. */
static u32 rename_more(place *its, u32 buffered, int last) {
  u32 before = its->held;
  if (!before && its->rest >= buffered) {
    its->rest -= buffered;
    return CONTINUE;
  }
  span in = join_held(its, buffered), kept = {0, 0};
  if (!in.size || proxy_get_property((const u8 *)KEPT, sizeof KEPT - 1, &kept.at, &kept.size))
    return REFUSE_ALIAS(its->stream);
  alias.name_size = take_part(&kept, alias.name);
  alias.model_size = take_part(&kept, alias.model);
  alias.version_size = take_part(&kept, alias.version);
  u32 used = 0, made = 0;
  int state = rename(in, last, &its->rest, &used, &made);
  its->held = state == MORE ? in.size - used : 0;
  if (state == BROKEN || its->held > HELD_LIMIT) return REFUSE_ALIAS(its->stream);
  if (state == MORE) {
    proxy_set_property(HELD, sizeof HELD - 1, in.at + used, its->held);
    its->rest = 0;
    used = in.size;
  }
  if (used < before) { /* what was taken out comes back as it was */
    copy(renamed + made, in.at + used, before - used);
    made += before - used;
    used = before;
  }
  if (used > before || made) proxy_set_buffer_bytes(REQUEST_BODY, 0, used - before, renamed, made);
  return CONTINUE;
}
