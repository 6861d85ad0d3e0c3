/* Look-ups in the metadata of the call's virtual host, which comes with the routes. */

IMPORT(proxy_get_property) u32 proxy_get_property(const u8 *path, u32 path_size, const u8 **at, u32 *size);

enum { LONGEST_KEY = 256 };

static span property(const char *above, u32 above_size, span key) {
  static u8 path[128 + LONGEST_KEY];
  span value = {0, 0};
  if (key.size > LONGEST_KEY) return value;
  __builtin_memcpy(path, above, above_size);
  for (u32 i = 0; i < key.size; i++) {
    if (!key.at[i]) return value; /* it separates the parts of a path */
    path[above_size + i] = key.at[i];
  }
  if (proxy_get_property(path, above_size + key.size, &value.at, &value.size)) value = (span){0, 0};
  return value;
}
#define IN_HOST(space) "xds\0virtual_host_metadata\0filter_metadata\0" space /* its final zero is the joint */
#define PROPERTY(above, key) property(above, sizeof above, key)
