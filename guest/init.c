// SPDX-License-Identifier: Apache-2.0
// The whole userland of DWCP's small guest: process 1. It loads the drivers, sets the address, answers HTTP on port 80, keeps
// a record on its disk when it has one, and obeys the ACPI power button. There is no shell: under emulation every exec costs tens of milliseconds of a failover.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/input.h>
#include <net/if.h>
#include <net/route.h>
#include <poll.h>
#include <pthread.h>
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

enum { INPUTS_MAX = 16, CLIENTS_MAX = 48, REQUEST_MAX = 2048, RECORD_MAX = 1024, WORK_MAX = 16 };

struct client {
    int fd;
    size_t used;
    char request[REQUEST_MAX];
};

static char vm[128] = "unknown", generation[32] = "0", boot_id[64] = "unknown";
static char address[32] = "10.0.2.15", prefix[8] = "24", gateway[32] = "10.0.2.2";
static int wants_disk, disk_fd = -1;
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

// QEMU's user network shows every client as one address and reuses ports within seconds. A port that the kernel still remembers as
// TIME_WAIT makes it doubt the new connection, and QEMU asks again after 6 s only. Nothing here is worth remembering.
static void forget_ended_connections(void) {
    int fd = open("/proc/sys/net/ipv4/tcp_max_tw_buckets", O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, "0", 1) != 1) say("tcp_max_tw_buckets: %s", strerror(errno));
    if (fd >= 0) close(fd);
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

// Records lie behind what a boot loader or a partition table would take, each in a place of its own: `PUT /record?17` writes
// number 17, and `/record` is number 0.
static struct {
    char magic[8];
    uint32_t length;
    char bytes[RECORD_MAX];
} record;
static const char magic[8] = "DWCPREC1";
static const off_t record_at = 1 << 20, record_stride = 4096;
static const unsigned long records_max = 65536;

static off_t record_place(const struct client *c) {
    const char *number = c->request + strlen("PUT /record");
    unsigned long slot = *number == '?' ? strtoul(number + 1, NULL, 10) % records_max : 0;
    return record_at + (off_t)slot * record_stride;
}

static void open_disk(void) {
    if (wants_disk && disk_fd < 0) disk_fd = open("/dev/vda", O_RDWR | O_CLOEXEC);
}

static unsigned long long disk_bytes(void) {
    uint64_t bytes = 0;
    return disk_fd >= 0 && ioctl(disk_fd, BLKGETSIZE64, &bytes) == 0 ? bytes : 0;
}

// True once the disk itself says that it has the record.
static int write_record(off_t at, const char *bytes, size_t length) {
    memset(&record, 0, sizeof record);
    memcpy(record.magic, magic, sizeof magic);
    record.length = (uint32_t)length;
    memcpy(record.bytes, bytes, length);
    return pwrite(disk_fd, &record, sizeof record, at) == sizeof record && fsync(disk_fd) == 0;
}

static int read_record(off_t at) {
    return pread(disk_fd, &record, sizeof record, at) == sizeof record &&
           memcmp(record.magic, magic, sizeof magic) == 0 && record.length <= RECORD_MAX;
}

static void power_off(void) {
    say("power button: stopping");
    sync();
    reboot(RB_POWER_OFF);
}

static void reply(int fd, const char *status, const char *type, const char *body, size_t length) {
    char out[256 + RECORD_MAX];
    int head = snprintf(out, 256, "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n", status, type,
                        length);
    memcpy(out + head, body, length);
    send(fd, out, (size_t)head + length, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void say_so(int fd, const char *status, const char *text) { reply(fd, status, "text/plain", text, strlen(text)); }

static int asks(const struct client *c, const char *what) {
    size_t length = strlen(what);
    return strncmp(c->request, what, length) == 0 && (c->request[length] == ' ' || c->request[length] == '?');
}

// A disk may take long, as when its writes wait for another region. So records are written and read by a thread of their own, and
// everything else is answered meanwhile. It starts with the first record: most boots have none.
static struct work {
    int fd, is_put;
    off_t at;
    size_t length;
    char bytes[RECORD_MAX];
} work[WORK_MAX];
static unsigned work_first, work_count;
static pthread_mutex_t work_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t work_there = PTHREAD_COND_INITIALIZER;

static void do_work(const struct work *w) {
    if (w->is_put) {
        if (write_record(w->at, w->bytes, w->length)) say_so(w->fd, "200 OK", "written\n");
        else say_so(w->fd, "500 Internal Server Error", strerror(errno));
    } else if (read_record(w->at)) {
        reply(w->fd, "200 OK", "application/octet-stream", record.bytes, record.length);
    } else {
        say_so(w->fd, "404 Not Found", "the disk has no record\n");
    }
    shutdown(w->fd, SHUT_WR);
    close(w->fd);
}

static void *work_on(void *unused) {
    for (;;) {
        pthread_mutex_lock(&work_lock);
        while (work_count == 0) pthread_cond_wait(&work_there, &work_lock);
        struct work next = work[work_first];
        work_first = (work_first + 1) % WORK_MAX;
        work_count--;
        pthread_mutex_unlock(&work_lock);
        do_work(&next);
    }
    return unused;
}

// Takes the client's connection over; false when too many wait already.
static int hand_over(struct client *c, const char *body, size_t length) {
    static int started;
    pthread_t thread;
    if (!started && pthread_create(&thread, NULL, work_on, NULL) != 0) return 0;
    started = 1;
    pthread_mutex_lock(&work_lock);
    int taken = work_count < WORK_MAX;
    if (taken) {
        struct work *w = &work[(work_first + work_count++) % WORK_MAX];
        *w = (struct work){.fd = c->fd, .is_put = asks(c, "PUT /record"), .at = record_place(c), .length = length};
        memcpy(w->bytes, body, length);
        c->fd = -1;
        c->used = 0;
        pthread_cond_signal(&work_there);
    }
    pthread_mutex_unlock(&work_lock);
    return taken;
}

static void answer_record(struct client *c, const char *body, size_t length) {
    open_disk();
    if (!wants_disk) say_so(c->fd, "404 Not Found", "this VM has no disk\n");
    else if (disk_fd < 0) say_so(c->fd, "503 Service Unavailable", "the disk is not there yet\n");
    else if (!hand_over(c, body, length)) say_so(c->fd, "503 Service Unavailable", "the disk has too much to do\n");
}

static void answer(struct client *c, const char *body, size_t body_length) {
    char text[512];
    if (asks(c, "GET /health")) {
        say_so(c->fd, "200 OK", "ok");
    } else if (asks(c, "GET /record") || asks(c, "PUT /record")) {
        answer_record(c, body, body_length);
    } else {
        counter++;
        int length = snprintf(text, sizeof text,
                              "{\"vm\":\"%s\",\"generation\":%llu,\"boot_id\":\"%s\",\"counter\":%llu,\"uptime_ms\":%llu,\"disk_bytes\":%llu}\n",
                              vm, strtoull(generation, NULL, 10), boot_id, counter, uptime_ms(), disk_bytes());
        reply(c->fd, "200 OK", "application/json", text, (size_t)length);
    }
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
    const char *dos = strstr(c->request, "\r\n\r\n"), *plain = strstr(c->request, "\n\n");
    const char *body = dos ? dos + 4 : plain ? plain + 2 : NULL;
    const char *told = strcasestr(c->request, "\nContent-Length:");
    size_t length = body && told && told < body ? strtoul(told + 16, NULL, 10) : 0;
    if (length > RECORD_MAX) {
        say_so(c->fd, "413 Content Too Large", "a record has 1024 bytes at most\n");
    } else if (body && c->used >= (size_t)(body - c->request) + length) {
        answer(c, body, length);
    } else if (c->used < REQUEST_MAX - 1) {
        return;
    }
    if (c->fd < 0) return; // Handed over.
    shutdown(c->fd, SHUT_WR);
    drop(c);
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
    forget_ended_connections();
    int listener = listen_http();
    say("dwcp guest %s generation %s boot %s: answering on %s:80", vm, generation, boot_id, address);
    // What is below is not needed for the first answer, so it waits until after it could be given.
    if (wants_disk) load("virtio_blk");
    open_disk();
    for (size_t i = 0; i < sizeof later / sizeof *later; i++) {
        admit(listener);
        load(later[i]);
    }
    open_inputs();
    run(listener);
}
