/* Endpoints: "tcp://HOST:PORT" taken apart, and what the system knows about HOST.
 *
 * libzmq accepts more than we want (other transports, "source;destination", interface names with spaces) and says
 * EINVAL for everything else, so the form is checked here first and an error says which part is wrong. HOST is a name,
 * an IPv4 address, an IPv6 address in brackets, or "*" for every address of a listener. Only net_local_address asks the
 * system's resolver, and may therefore block where HOST is a name; while a daemon serves it is given addresses in
 * numbers alone (net_endpoint_check_numeric). */
#include "daemon/net/socket.h"

#include "base/decimal.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PORT_MOST 65535
#define SCHEME    "tcp://"
#define LETTERS   "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS    "0123456789"

static bool malformed(const char *endpoint, const char *reason, struct error *error) {
    return error_set(error, ERROR_USAGE, "\"%s\": %s; want tcp://HOST:PORT", endpoint, reason);
}

static bool host_valid(const struct net_address *address) {
    const char *allowed = address->ipv6 ? DIGITS LETTERS ":.%" : DIGITS LETTERS ".-_";
    return strcmp(address->host, "*") == 0 || (*address->host && address->host[strspn(address->host, allowed)] == '\0');
}

static bool port_valid(const char *port) {
    if (strcmp(port, "*") == 0)
        return true;
    uint64_t number;
    return strlen(port) <= 5 && decimal_parse(port, PORT_MOST, &number);
}

/* Copies [from, from + size) as a string; false when it does not fit. */
static bool copy(char *to, size_t room, const char *from, size_t size) {
    if (size >= room)
        return false;
    memcpy(to, from, size);
    to[size] = '\0';
    return true;
}

bool net_address_parse(const char *endpoint, struct net_address *address, struct error *error) {
    *address = (struct net_address){.ipv6 = false};
    if (strlen(endpoint) >= NET_ENDPOINT_MAX)
        return malformed("...", "longer than 127 characters", error);
    if (strncmp(endpoint, SCHEME, strlen(SCHEME)) != 0)
        return malformed(endpoint, "does not start with tcp://", error);
    const char *host = endpoint + strlen(SCHEME);
    const char *colon = strrchr(host, ':');
    if (!colon)
        return malformed(endpoint, "has no port", error);
    size_t size = (size_t)(colon - host);
    address->ipv6 = size >= 2 && host[0] == '[' && host[size - 1] == ']';
    if (address->ipv6) {
        host++;
        size -= 2;
    }
    if (!copy(address->host, sizeof address->host, host, size) || !host_valid(address))
        return malformed(endpoint, "has no valid host", error);
    if (!copy(address->port, sizeof address->port, colon + 1, strlen(colon + 1)) || !port_valid(address->port))
        return malformed(endpoint, "its port is not 0 to 65535", error);
    return true;
}

bool net_endpoint_check(const char *endpoint, struct error *error) {
    struct net_address address;
    return net_address_parse(endpoint, &address, error);
}

bool net_endpoint_behind(const char *endpoint, unsigned places, char at[NET_ENDPOINT_MAX], struct error *error) {
    const char *port = strrchr(endpoint, ':') + 1; /* a checked one has it */
    unsigned long number = strtoul(port, NULL, 10);
    if (number > 0 && number + places > PORT_MOST)
        return error_set(error, ERROR_USAGE, "%s: port %lu is needed too, and there is none above %d", endpoint,
                         number + places, PORT_MOST);
    if (number > 0)
        snprintf(at, NET_ENDPOINT_MAX, "%.*s%lu", (int)(port - endpoint), endpoint, number + places);
    else
        snprintf(at, NET_ENDPOINT_MAX, "%s", endpoint);
    return true;
}

void net_endpoint_from(const char *endpoint, const char *asker, const char *local, char told[NET_ENDPOINT_MAX]) {
    size_t size = strlen(local);
    const char *host = asker + strlen(SCHEME);
    bool same = net_is_loopback(asker) || (strncmp(host, local, size) == 0 && host[size] == ':');
    if (same)
        snprintf(told, NET_ENDPOINT_MAX, "%s", endpoint);
    else
        snprintf(told, NET_ENDPOINT_MAX, SCHEME "%s%s", local, strrchr(endpoint, ':'));
}

/* The address in numbers, without asking a resolver; false when the host is a name. */
static bool numeric_address(const struct net_address *address, struct sockaddr_storage *numbers) {
    const struct addrinfo hints = {.ai_family = address->ipv6 ? AF_INET6 : AF_INET,
                                   .ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    if (getaddrinfo(address->host, NULL, &hints, &found) != 0)
        return false;
    memset(numbers, 0, sizeof *numbers);
    memcpy(numbers, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    return true;
}

static bool unspecified(const struct sockaddr_storage *numbers) {
    if (numbers->ss_family == AF_INET6)
        return IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)(const void *)numbers)->sin6_addr);
    return ((const struct sockaddr_in *)(const void *)numbers)->sin_addr.s_addr == htonl(INADDR_ANY);
}

bool net_endpoint_check_numeric(const char *endpoint, struct error *error) {
    struct net_address address;
    struct sockaddr_storage numbers;
    if (!net_address_parse(endpoint, &address, error))
        return false;
    uint64_t port = 0;
    if (decimal_parse(address.port, PORT_MOST, &port) && port > 0 && numeric_address(&address, &numbers) &&
        !unspecified(&numbers))
        return true;
    return error_set(error, ERROR_USAGE,
                     "\"%s\": want one address in numbers and a port, such as tcp://192.168.1.7:7601", endpoint);
}

bool net_is_everywhere(const char *endpoint) {
    struct net_address address;
    struct sockaddr_storage numbers;
    if (!net_address_parse(endpoint, &address, NULL))
        return false;
    return strcmp(address.host, "*") == 0 || (numeric_address(&address, &numbers) && unspecified(&numbers));
}

bool net_is_loopback(const char *endpoint) {
    struct net_address address;
    struct in_addr four;
    struct in6_addr six;
    if (!net_address_parse(endpoint, &address, NULL))
        return false;
    if (address.ipv6)
        return inet_pton(AF_INET6, address.host, &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six);
    if (inet_pton(AF_INET, address.host, &four) == 1)
        return ntohl(four.s_addr) >> 24 == 127;
    return strcmp(address.host, "localhost") == 0;
}

/* Connecting a datagram socket sends nothing, but makes the system choose the route and with it the local address. */
static bool local_address_to(const struct addrinfo *to, struct sockaddr_storage *local, socklen_t *size) {
    int descriptor = socket(to->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0)
        return false;
    bool ok = connect(descriptor, to->ai_addr, to->ai_addrlen) == 0 &&
              getsockname(descriptor, (struct sockaddr *)local, size) == 0;
    close(descriptor);
    return ok;
}

bool net_local_address(const char *endpoint, char text[64], struct error *error) {
    struct net_address address;
    if (!net_address_parse(endpoint, &address, error))
        return false;
    struct addrinfo hints = {.ai_family = address.ipv6 ? AF_INET6 : AF_INET, .ai_socktype = SOCK_DGRAM};
    struct addrinfo *found = NULL;
    int result = getaddrinfo(address.host, address.port, &hints, &found);
    if (result != 0)
        return error_set(error, ERROR_SYSTEM, "%s: unknown host \"%s\" (%s)", endpoint, address.host,
                         gai_strerror(result));
    struct sockaddr_storage local;
    socklen_t size = sizeof local;
    char host[62]; /* leaves room for brackets */
    bool ok = local_address_to(found, &local, &size);
    if (!ok)
        error_set_errno(error, "%s: no way there", endpoint);
    else if (getnameinfo((struct sockaddr *)&local, size, host, sizeof host, NULL, 0, NI_NUMERICHOST) != 0)
        ok = error_set(error, ERROR_SYSTEM, "%s: the local address cannot be printed", endpoint);
    else
        snprintf(text, 64, address.ipv6 ? "[%s]" : "%s", host);
    freeaddrinfo(found);
    return ok;
}
