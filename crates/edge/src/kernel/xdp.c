// Drops what the router blocks before the kernel looks at it: packets to the router's own addresses and ports, from networks that are
// blocked and not whitelisted. Everything else passes, whatever it is.
//
// Maps and helpers are declared here, so that clang is all that this needs: clang -O2 -g -target bpf -c xdp.c -o xdp.o

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define SECTION(name) __attribute__((section(name), used))
#define ALWAYS static inline __attribute__((always_inline))
#define MEMBER_UINT(name, value) int (*name)[value]
#define MEMBER_TYPE(name, value) typeof(value) *name

// linux/bpf.h
enum { HASH = 1, PERCPU_ARRAY = 6, LPM_TRIE = 11 };
enum { NO_PREALLOC = 1 };
enum { XDP_DROP = 1, XDP_PASS = 2 };

struct xdp_md {
	u32 data;
	u32 data_end;
	u32 data_meta;
	u32 ingress_ifindex;
	u32 rx_queue_index;
	u32 egress_ifindex;
};

static void *(*map_lookup)(void *map, const void *key) = (void *)1;
static u64 (*boot_ns)(void) = (void *)125;

// A network as a trie's key. Both kinds of addresses have 16 bytes: those of IPv4 as ::ffff:a.b.c.d.
struct net {
	u32 bits;
	u8 address[16];
};

// Where the router serves.
struct listen {
	u8 address[16];
	u16 port;
	u16 udp;
};

struct dropped {
	u64 packets;
	u64 bytes;
};

// Until when each is blocked, ns since the machine started.
struct {
	MEMBER_UINT(type, LPM_TRIE);
	MEMBER_UINT(max_entries, 131072);
	MEMBER_UINT(map_flags, NO_PREALLOC);
	MEMBER_TYPE(key, struct net);
	MEMBER_TYPE(value, u64);
} blocked SECTION(".maps");

struct {
	MEMBER_UINT(type, LPM_TRIE);
	MEMBER_UINT(max_entries, 131072);
	MEMBER_UINT(map_flags, NO_PREALLOC);
	MEMBER_TYPE(key, struct net);
	MEMBER_TYPE(value, u8);
} white SECTION(".maps");

struct {
	MEMBER_UINT(type, HASH);
	MEMBER_UINT(max_entries, 4096);
	MEMBER_TYPE(key, struct listen);
	MEMBER_TYPE(value, u8);
} listens SECTION(".maps");

// IPv4 and IPv6.
struct {
	MEMBER_UINT(type, PERCPU_ARRAY);
	MEMBER_UINT(max_entries, 2);
	MEMBER_TYPE(key, u32);
	MEMBER_TYPE(value, struct dropped);
} drops SECTION(".maps");

ALWAYS u16 swapped(u16 network)
{
	return (u16)(network << 8) | (network >> 8);
}

ALWAYS void mapped(u8 *to, const u8 *ipv4)
{
	__builtin_memset(to, 0, 10);
	to[10] = to[11] = 0xff;
	__builtin_memcpy(to + 12, ipv4, 4);
}

ALWAYS int judged(struct net *source, u32 family, u64 bytes)
{
	if (map_lookup(&white, source))
		return XDP_PASS;
	u64 *until = map_lookup(&blocked, source);
	if (!until || *until <= boot_ns())
		return XDP_PASS;
	struct dropped *count = map_lookup(&drops, &family);
	if (count) {
		count->packets += 1;
		count->bytes += bytes;
	}
	return XDP_DROP;
}

SECTION("xdp")
int guard(struct xdp_md *packet)
{
	u8 *at = (u8 *)(long)packet->data, *end = (u8 *)(long)packet->data_end;
	u64 bytes = end - at;
	if (at + 14 > end)
		return XDP_PASS;
	u16 kind = swapped(*(u16 *)(at + 12));
	at += 14;
	// One tag of a virtual network, or two.
	for (int tags = 0; tags < 2; tags++) {
		if (kind != 0x8100 && kind != 0x88a8)
			break;
		if (at + 4 > end)
			return XDP_PASS;
		kind = swapped(*(u16 *)(at + 2));
		at += 4;
	}
	struct net source = {.bits = 128};
	struct listen to = {};
	u8 protocol;
	u32 family;
	if (kind == 0x0800) {
		if (at + 20 > end)
			return XDP_PASS;
		u32 head = (at[0] & 15) * 4;
		// Only the first of several fragments says a port.
		if (head < 20 || (swapped(*(u16 *)(at + 6)) & 0x1fff))
			return XDP_PASS;
		protocol = at[9];
		mapped(source.address, at + 12);
		mapped(to.address, at + 16);
		at += head;
		family = 0;
	} else if (kind == 0x86dd) {
		if (at + 40 > end)
			return XDP_PASS;
		protocol = at[6];
		__builtin_memcpy(source.address, at + 8, 16);
		__builtin_memcpy(to.address, at + 24, 16);
		at += 40;
		family = 1;
	} else {
		return XDP_PASS;
	}
	if ((protocol != 6 && protocol != 17) || at + 4 > end)
		return XDP_PASS;
	to.port = swapped(*(u16 *)(at + 2));
	to.udp = protocol == 17;
	return map_lookup(&listens, &to) ? judged(&source, family, bytes) : XDP_PASS;
}

// No helper that is used asks for more.
char _license[] SECTION("license") = "Apache-2.0";
