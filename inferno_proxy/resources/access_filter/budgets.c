/* Holds each client to its budget: so many calls in each period (an hour, a day) that begins on the clock.
 *
 * The last filter before the router, so that a call which a rate refused costs nothing. Who calls is known from
 * callers.c; how much he may is in the virtual host's metadata:
 *   inferno.budgets {CLIENT: "CALLS SECONDS"}
 * What is spent stands in Envoy's memory, which all its threads and every version of the routes share, unlike the
 * buckets of Envoy's own filter, which are full again with each new version. It ends with Envoy's process.
 */

#include "../proxy_wasm/abi.h"
#include "host_metadata.h"

IMPORT(proxy_get_current_time_nanoseconds) u32 proxy_get_current_time_nanoseconds(u64 *nanoseconds);
IMPORT(proxy_get_shared_data)
u32 proxy_get_shared_data(const u8 *key, u32 key_size, const u8 **at, u32 *size, u32 *version);
IMPORT(proxy_set_shared_data)
u32 proxy_set_shared_data(const u8 *key, u32 key_size, const void *value, u32 size, u32 version);

/* Decided by local_replies.py, which makes 429 of it; nobody ever sees it. */
enum { BUDGET_STATUS = 424, OTHER_VERSION = 8, TRIES = 100 };

typedef struct {
  u64 period; /* number of the period since 1970 */
  u64 calls;
} spending;

static u64 number(span *rest) {
  u64 value = 0;
  u32 at = 0;
  for (; at < rest->size && rest->at[at] != ' '; at++) value = value * 10 + (rest->at[at] - '0');
  at += at < rest->size;
  rest->at += at;
  rest->size -= at;
  return value;
}

static u8 text[128];
static u32 text_size;

static void put(const char *from, u32 size) {
  __builtin_memcpy(text + text_size, from, size);
  text_size += size;
}
#define PUT(words) put(words, sizeof words - 1)

static span put_number(u64 value) {
  char digits[20];
  u32 at = sizeof digits;
  do digits[--at] = (char)('0' + value % 10);
  while (value /= 10);
  put(digits + at, sizeof digits - at);
  return (span){text + text_size - (sizeof digits - at), sizeof digits - at};
}

static u8 headers[128];
static u32 headers_size;

static void size_of_next(u32 size) {
  __builtin_memcpy(headers + headers_size, &size, 4);
  headers_size += 4;
}

static void header_text(const char *from, u32 size) {
  __builtin_memcpy(headers + headers_size, from, size);
  headers[headers_size + size] = 0;
  headers_size += size + 1;
}

static u32 refuse(u64 calls, u64 wait) {
  static const char LATER[] = "retry-after", NOT_AGAIN[] = "grpc-retry-pushback-ms", NEVER[] = "-1";
  text_size = headers_size = 0;
  PUT("this client's budget of ");
  put_number(calls);
  PUT(" calls is spent; the next begins in ");
  span seconds = put_number(wait);
  PUT(" seconds");
  /* Their number, then the size of each name and value, then these. */
  size_of_next(2);
  size_of_next(sizeof LATER - 1);
  size_of_next(seconds.size);
  size_of_next(sizeof NOT_AGAIN - 1);
  size_of_next(sizeof NEVER - 1);
  header_text(LATER, sizeof LATER - 1);
  header_text((const char *)seconds.at, seconds.size);
  header_text(NOT_AGAIN, sizeof NOT_AGAIN - 1);
  header_text(NEVER, sizeof NEVER - 1);
  proxy_send_local_response(BUDGET_STATUS, "inferno_budget", 14, (const char *)text, text_size, (const char *)headers,
                            headers_size, RESOURCE_EXHAUSTED);
  return PAUSE;
}

EXPORT(proxy_on_configure) u32 proxy_on_configure(u32 root, u32 size) { return root | size | 1; }

EXPORT(proxy_on_request_headers) u32 proxy_on_request_headers(u32 stream, u32 count, u32 last) {
  (void)stream, (void)count, (void)last;
  arena_used = 0;
  span client = HEADER("x-inferno-client"), budget;
  if (!client.size || !(budget = PROPERTY(IN_HOST("inferno.budgets"), client)).size) return CONTINUE;
  u64 calls = number(&budget), seconds = number(&budget), now = 0;
  proxy_get_current_time_nanoseconds(&now);
  now /= 1000000000;
  if (!seconds) return CONTINUE;
  for (u32 try = 0; try < TRIES; try++) { /* another thread may count at the same time */
    span held = {0, 0};
    u32 version = 0, before = arena_used;
    spending spent = {0, 0};
    if (!proxy_get_shared_data(client.at, client.size, &held.at, &held.size, &version) && held.size == sizeof spent)
      __builtin_memcpy(&spent, held.at, sizeof spent);
    arena_used = before;
    if (spent.period != now / seconds) spent = (spending){now / seconds, 0};
    if (spent.calls >= calls) return refuse(calls, seconds - now % seconds);
    spent.calls++;
    if (proxy_set_shared_data(client.at, client.size, &spent, sizeof spent, version) != OTHER_VERSION) break;
  }
  return CONTINUE;
}
