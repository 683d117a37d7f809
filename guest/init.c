// SPDX-License-Identifier: Apache-2.0
// The whole userland of DWCP's small guest: process 1. It loads the drivers, sets the address, answers HTTP on port 80 and
// obeys the ACPI power button. There is no shell: under emulation every exec costs tens of milliseconds of a failover.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/input.h>
#include <net/if.h>
#include <net/route.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { INPUTS_MAX = 16, CLIENTS_MAX = 48, REQUEST_MAX = 2048 };

struct client {
    int fd;
    size_t used;
    char request[REQUEST_MAX];
};

static char vm[128] = "unknown", generation[32] = "0", boot_id[64] = "unknown";
static char address[32] = "10.0.2.15", prefix[8] = "24", gateway[32] = "10.0.2.2";
static int wants_disk;
static unsigned long long counter;
static struct client clients[CLIENTS_MAX];
static int inputs[INPUTS_MAX], input_count, console_fd = -1;

static unsigned long long uptime_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (unsigned long long)now.tv_sec * 1000 + (unsigned long long)now.tv_nsec / 1000000;
}

static void say(const char *format, ...) {
    char line[320];
    int head = snprintf(line, sizeof line, "[%6llu ms] ", uptime_ms());
    va_list list;
    va_start(list, format);
    int body = vsnprintf(line + head, sizeof line - (size_t)head - 2, format, list);
    va_end(list);
    size_t length = (size_t)head + (size_t)(body < 0 ? 0 : body);
    if (length > sizeof line - 2) length = sizeof line - 2;
    line[length++] = '\n';
    if (console_fd >= 0 && write(console_fd, line, length) < 0) return;
}

static size_t read_file(const char *path, char *into, size_t size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, into, size - 1);
    if (fd >= 0) close(fd);
    if (got < 0) got = 0;
    into[got] = 0;
    while (got > 0 && (into[got - 1] == '\n' || into[got - 1] == ' ')) into[--got] = 0;
    return (size_t)got;
}

// A module that is absent or refused is said on the console and passed over: the guest serves with what it has.
static void load(const char *name) {
    char path[96];
    snprintf(path, sizeof path, "/modules/%s.ko", name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        say("module %s is not in this image", name);
        return;
    }
    if (syscall(SYS_finit_module, fd, "", 0) != 0 && errno != EEXIST) say("module %s: %s", name, strerror(errno));
    close(fd);
}

static void take(const char *word, const char *key, char *into, size_t size) {
    size_t length = strlen(key);
    if (strncmp(word, key, length) == 0) snprintf(into, size, "%s", word + length);
}

static void read_command_line(void) {
    static char line[4096];
    read_file("/proc/cmdline", line, sizeof line);
    for (char *word = strtok(line, " "); word; word = strtok(NULL, " ")) {
        take(word, "dwcp.vm=", vm, sizeof vm);
        take(word, "dwcp.generation=", generation, sizeof generation);
        take(word, "dwcp.address=", address, sizeof address);
        take(word, "dwcp.prefix=", prefix, sizeof prefix);
        take(word, "dwcp.gateway=", gateway, sizeof gateway);
        if (strcmp(word, "dwcp.disk=1") == 0) wants_disk = 1;
    }
    // These two go into JSON unescaped; anything else than an id's alphabet is refused here.
    for (char *c = vm; *c; c++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.", *c)) *c = '_';
    for (char *c = generation; *c; c++)
        if (*c < '0' || *c > '9') *c = '0';
}

static void set_in(int fd, unsigned long what, struct ifreq *request, uint32_t host_order) {
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(host_order)};
    memcpy(&request->ifr_addr, &in, sizeof in);
    if (ioctl(fd, what, request) != 0) say("%s: %s", request->ifr_name, strerror(errno));
}

static void link_up(int fd, const char *name) {
    struct ifreq request = {0};
    snprintf(request.ifr_name, IFNAMSIZ, "%s", name);
    if (ioctl(fd, SIOCGIFFLAGS, &request) != 0) {
        say("%s: %s", name, strerror(errno));
        return;
    }
    request.ifr_flags |= IFF_UP | IFF_RUNNING;
    if (ioctl(fd, SIOCSIFFLAGS, &request) != 0) say("%s: %s", name, strerror(errno));
}

static void set_network(void) {
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq request = {0};
    int bits = atoi(prefix);
    uint32_t mask = bits <= 0 ? 0 : bits >= 32 ? 0xffffffffu : ~(0xffffffffu >> bits);
    struct in_addr parsed;
    link_up(fd, "lo");
    snprintf(request.ifr_name, IFNAMSIZ, "eth0");
    if (inet_aton(address, &parsed)) set_in(fd, SIOCSIFADDR, &request, ntohl(parsed.s_addr));
    set_in(fd, SIOCSIFNETMASK, &request, mask);
    link_up(fd, "eth0");
    if (inet_aton(gateway, &parsed) && parsed.s_addr != 0) {
        struct rtentry route = {.rt_flags = RTF_UP | RTF_GATEWAY};
        struct sockaddr_in hop = {.sin_family = AF_INET, .sin_addr = parsed}, any = {.sin_family = AF_INET};
        memcpy(&route.rt_gateway, &hop, sizeof hop);
        memcpy(&route.rt_dst, &any, sizeof any);
        memcpy(&route.rt_genmask, &any, sizeof any);
        if (ioctl(fd, SIOCADDRT, &route) != 0) say("route: %s", strerror(errno));
        // One datagram to the gateway makes it learn our hardware address now instead of at its first retry, a second later.
        hop.sin_port = htons(9);
        sendto(fd, "", 1, MSG_DONTWAIT, (struct sockaddr *)&hop, sizeof hop);
    }
    close(fd);
}

static int listen_http(void) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1;
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(80)};
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&any, sizeof any) != 0 || listen(fd, 64) != 0) say("port 80: %s", strerror(errno));
    return fd;
}

static void open_inputs(void) {
    DIR *dir = opendir("/dev/input");
    struct dirent *entry;
    while (dir && (entry = readdir(dir)) && input_count < INPUTS_MAX) {
        char path[300];
        if (strncmp(entry->d_name, "event", 5) != 0) continue;
        snprintf(path, sizeof path, "/dev/input/%s", entry->d_name);
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        if (fd >= 0) inputs[input_count++] = fd;
    }
    if (dir) closedir(dir);
}

static void power_off(void) {
    say("power button: stopping");
    sync();
    reboot(RB_POWER_OFF);
}

static void answer(struct client *c) {
    char body[512], head[192];
    const char *type = "application/json";
    int length;
    if (strncmp(c->request, "GET /health", 11) == 0 && (c->request[11] == ' ' || c->request[11] == '?')) {
        type = "text/plain";
        length = snprintf(body, sizeof body, "ok");
    } else {
        counter++;
        length = snprintf(body, sizeof body,
                          "{\"vm\":\"%s\",\"generation\":%llu,\"boot_id\":\"%s\",\"counter\":%llu,\"uptime_ms\":%llu}\n", vm,
                          strtoull(generation, NULL, 10), boot_id, counter, uptime_ms());
    }
    int head_length = snprintf(head, sizeof head,
                               "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n", type, length);
    char out[sizeof body + sizeof head];
    memcpy(out, head, (size_t)head_length);
    memcpy(out + head_length, body, (size_t)length);
    send(c->fd, out, (size_t)(head_length + length), MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void drop(struct client *c) {
    close(c->fd);
    c->fd = -1;
    c->used = 0;
}

static void serve(struct client *c) {
    ssize_t got = recv(c->fd, c->request + c->used, REQUEST_MAX - 1 - c->used, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) {
        drop(c);
        return;
    }
    c->used += (size_t)got;
    c->request[c->used] = 0;
    if (strstr(c->request, "\r\n\r\n") || strstr(c->request, "\n\n")) {
        answer(c);
        shutdown(c->fd, SHUT_WR);
        drop(c);
    } else if (c->used >= REQUEST_MAX - 1) {
        drop(c);
    }
}

// When every place is taken the oldest place in the ring makes room, so silent clients can't keep others out.
static void admit(int listener) {
    static int next;
    for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0;) {
        struct client *place = NULL;
        for (int i = 0; i < CLIENTS_MAX && !place; i++)
            if (clients[i].fd < 0) place = &clients[i];
        if (!place) {
            place = &clients[next++ % CLIENTS_MAX];
            drop(place);
        }
        place->fd = fd;
        place->used = 0;
        serve(place);
    }
}

static void run(int listener) {
    for (;;) {
        struct pollfd watched[1 + INPUTS_MAX + CLIENTS_MAX];
        struct client *owner[1 + INPUTS_MAX + CLIENTS_MAX];
        int count = 0;
        watched[count++] = (struct pollfd){.fd = listener, .events = POLLIN};
        for (int i = 0; i < input_count; i++) watched[count++] = (struct pollfd){.fd = inputs[i], .events = POLLIN};
        for (int i = 0; i < CLIENTS_MAX; i++)
            if (clients[i].fd >= 0) {
                owner[count] = &clients[i];
                watched[count++] = (struct pollfd){.fd = clients[i].fd, .events = POLLIN};
            }
        if (poll(watched, (nfds_t)count, -1) < 0) continue;
        for (int i = 1; i <= input_count; i++) {
            struct input_event event;
            while ((watched[i].revents & POLLIN) && read(inputs[i - 1], &event, sizeof event) == sizeof event)
                if (event.type == EV_KEY && event.code == KEY_POWER && event.value == 1) power_off();
        }
        for (int i = 1 + input_count; i < count; i++)
            if (watched[i].revents) serve(owner[i]);
        if (watched[0].revents) admit(listener);
    }
}

int main(void) {
    static const char *const network[] = {"virtio_ring",          "virtio",     "failover",  "net_failover", "virtio_pci_modern_dev",
                                          "virtio_pci_legacy_dev", "virtio_pci", "virtio_net"};
    static const char *const later[] = {"button", "evdev", "virtio_balloon"};
    signal(SIGPIPE, SIG_IGN);
    for (int i = 0; i < CLIENTS_MAX; i++) clients[i].fd = -1;
    mkdir("/proc", 0555);
    mkdir("/dev", 0755);
    mount("proc", "/proc", "proc", 0, NULL);
    mount("dev", "/dev", "devtmpfs", 0, NULL);
    console_fd = open("/dev/ttyS0", O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    read_command_line();
    read_file("/proc/sys/kernel/random/boot_id", boot_id, sizeof boot_id);
    for (size_t i = 0; i < sizeof network / sizeof *network; i++) load(network[i]);
    set_network();
    int listener = listen_http();
    say("dwcp guest %s generation %s boot %s: answering on %s:80", vm, generation, boot_id, address);
    // What is below is not needed for the first answer, so it waits until after it could be given.
    if (wants_disk) load("virtio_blk");
    for (size_t i = 0; i < sizeof later / sizeof *later; i++) {
        admit(listener);
        load(later[i]);
    }
    open_inputs();
    run(listener);
}
