/* What the filters need of Envoy (Proxy-Wasm ABI 0.2.1), and of C. A filter that asks for much at once defines
 * ARENA_SIZE before it includes this. */

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

#define IMPORT(name) __attribute__((import_module("env"), import_name(#name)))
#define EXPORT(name) __attribute__((export_name(#name)))

enum { CONTINUE = 0, PAUSE = 1 };                                         /* filter actions */
enum { REQUEST_BODY = 0, PLUGIN_CONFIGURATION = 7, REQUEST_HEADERS = 0 }; /* buffer and map types */
/* gRPC status codes */
enum { INVALID_ARGUMENT = 3, PERMISSION_DENIED = 7, RESOURCE_EXHAUSTED = 8, UNIMPLEMENTED = 12, UNAUTHENTICATED = 16 };

IMPORT(proxy_get_buffer_bytes) u32 proxy_get_buffer_bytes(u32 type, u32 start, u32 limit, const u8 **at, u32 *size);
IMPORT(proxy_get_header_map_value)
u32 proxy_get_header_map_value(u32 map, const char *key, u32 key_size, const u8 **at, u32 *size);
IMPORT(proxy_send_local_response)
u32 proxy_send_local_response(u32 status, const char *detail, u32 detail_size, const char *body, u32 body_size,
                              const char *headers, u32 headers_size, int grpc_status);

#ifndef ARENA_SIZE
#define ARENA_SIZE (128 * 1024)
#endif
static u8 arena[ARENA_SIZE]; /* what the host hands us during one call into this module */
static u32 arena_used;

EXPORT(proxy_on_memory_allocate) void *proxy_on_memory_allocate(u32 size) {
  if (size > sizeof arena - arena_used) return 0;
  void *at = arena + arena_used;
  arena_used += (size + 7) & ~7u;
  if (arena_used > sizeof arena) arena_used = sizeof arena;
  return at;
}

typedef struct {
  const u8 *at;
  u32 size;
} span;

#define HEADER(name) header(name, sizeof name - 1)
static span header(const char *name, u32 size) {
  span value = {0, 0};
  if (proxy_get_header_map_value(REQUEST_HEADERS, name, size, &value.at, &value.size)) value = (span){0, 0};
  return value;
}

/* Inline, since not every filter needs them. */
static inline int same(span value, const char *text, u32 size) {
  if (value.size != size) return 0;
  for (u32 i = 0; i < size; i++)
    if (value.at[i] != (u8)text[i]) return 0;
  return 1;
}
#define IS(value, text) same(value, text, sizeof text - 1)

static inline int starts(span value, const char *text, u32 size) {
  if (value.size < size) return 0;
  for (u32 i = 0; i < size; i++)
    if (value.at[i] != (u8)text[i]) return 0;
  return 1;
}
#define STARTS(value, text) starts(value, text, sizeof text - 1)

EXPORT(proxy_abi_version_0_2_1) void proxy_abi_version_0_2_1(void) {}
EXPORT(proxy_on_vm_start) u32 proxy_on_vm_start(u32 root, u32 size) { return root | size | 1; }
EXPORT(proxy_on_context_create) void proxy_on_context_create(u32 stream, u32 root) { (void)stream, (void)root; }
