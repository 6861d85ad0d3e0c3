/* What a filter keeps of each stream between two calls into it: open addressing with linear probing.
 *
 * Whoever includes this defines PLACE_BITS (the table has 1 << PLACE_BITS places, and is full when half of them are
 * taken) and the type `place`, whose first member is `u32 stream`; 0 is a free place, since Envoy's stream ids start
 * at 1. */

enum { PLACES = 1 << PLACE_BITS };
static place places[PLACES];
static u32 taken;

static u32 home_of(u32 stream) { return (stream * 2654435769u) >> (32 - PLACE_BITS); }

static place *find(u32 stream) {
  u32 at = home_of(stream);
  while (places[at].stream != 0 && places[at].stream != stream) at = (at + 1) & (PLACES - 1);
  return &places[at];
}

static void release(u32 stream) {
  u32 hole = (u32)(find(stream) - places);
  if (places[hole].stream == 0) return;
  taken--;
  for (u32 at = (hole + 1) & (PLACES - 1); places[at].stream != 0; at = (at + 1) & (PLACES - 1)) {
    u32 home = home_of(places[at].stream);
    if (((at - home) & (PLACES - 1)) < ((at - hole) & (PLACES - 1))) continue; /* its home lies behind the hole */
    places[hole] = places[at];
    hole = at;
  }
  places[hole].stream = 0;
}
