/* What Rust cannot call of DPDK: most of it is inline. Nothing is decided here. */

#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <stdint.h>
#include <string.h>

enum { DESCRIPTORS = 1024, CACHE = 256 };

/* 0, or the error of the environment. */
int dwcp_begin(int argc, char **argv) {
    return rte_eal_init(argc, argv) < 0 ? (rte_errno == 0 ? -1 : rte_errno) : 0;
}

void dwcp_end(void) {
    rte_eal_cleanup();
}

const char *dwcp_error(int error) {
    return rte_strerror(error < 0 ? -error : error);
}

/* The number of a device's port: the library counts them in its own order. Below 0: it has none. */
int dwcp_port(const char *name) {
    uint16_t port;
    return rte_eth_dev_get_port_by_name(name, &port) < 0 ? -1 : port;
}

/* The most queues that a port can have. */
unsigned dwcp_queues(uint16_t port) {
    struct rte_eth_dev_info info;
    return rte_eth_dev_info_get(port, &info) < 0 ? 0 : RTE_MIN(info.max_rx_queues, info.max_tx_queues);
}

/* Sets a port up with so many queues and starts it; 0, or an error. */
int dwcp_open(uint16_t port, uint16_t queues) {
    char name[32];
    snprintf(name, sizeof name, "dwcp-%u", port);
    unsigned count = queues * DESCRIPTORS * 4 + CACHE * queues * 2;
    int socket = rte_eth_dev_socket_id(port);
    struct rte_mempool *pool =
        rte_pktmbuf_pool_create(name, count, CACHE, 0, RTE_MBUF_DEFAULT_BUF_SIZE, socket < 0 ? SOCKET_ID_ANY : socket);
    if (pool == NULL) {
        return rte_errno;
    }
    struct rte_eth_dev_info info;
    int done = rte_eth_dev_info_get(port, &info);
    if (done < 0) {
        return done;
    }
    struct rte_eth_conf conf;
    memset(&conf, 0, sizeof conf);
    if (queues > 1) {
        conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
        conf.rx_adv_conf.rss_conf.rss_hf = (RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP) & info.flow_type_rss_offloads;
    }
    if ((done = rte_eth_dev_configure(port, queues, queues, &conf)) < 0) {
        return done;
    }
    for (uint16_t queue = 0; queue < queues; queue++) {
        if ((done = rte_eth_rx_queue_setup(port, queue, DESCRIPTORS, rte_eth_dev_socket_id(port), NULL, pool)) < 0 ||
            (done = rte_eth_tx_queue_setup(port, queue, DESCRIPTORS, rte_eth_dev_socket_id(port), NULL)) < 0) {
            return done;
        }
    }
    if ((done = rte_eth_dev_start(port)) < 0) {
        return done;
    }
    /* What is not for the port's own address goes through, too. A port that cannot has no other's traffic. */
    (void)rte_eth_promiscuous_enable(port);
    return 0;
}

void dwcp_close(uint16_t port) {
    if (rte_eth_dev_stop(port) == 0) {
        rte_eth_dev_close(port);
    }
}

/* A thread of ours may use the ports' pools; 0, or an error. */
int dwcp_join(void) {
    return rte_thread_register() < 0 ? rte_errno : 0;
}

void dwcp_leave(void) {
    rte_thread_unregister();
}

uint16_t dwcp_receive(uint16_t port, uint16_t queue, struct rte_mbuf **packets, uint16_t most) {
    return rte_eth_rx_burst(port, queue, packets, most);
}

/* How many were taken; the others are still the caller's. */
uint16_t dwcp_send(uint16_t port, uint16_t queue, struct rte_mbuf **packets, uint16_t count) {
    return rte_eth_tx_burst(port, queue, packets, count);
}

void dwcp_free(struct rte_mbuf **packets, unsigned count) {
    rte_pktmbuf_free_bulk(packets, count);
}

/* The first part of a packet, and the length of all of it. */
const uint8_t *dwcp_bytes(const struct rte_mbuf *packet, uint16_t *first, uint32_t *all) {
    *first = rte_pktmbuf_data_len(packet);
    *all = rte_pktmbuf_pkt_len(packet);
    return rte_pktmbuf_mtod(packet, const uint8_t *);
}
