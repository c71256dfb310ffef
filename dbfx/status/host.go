package status

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// refusedHost is the answer to a request with a Host that the page does not go by.
const refusedHost = "This page is served on the loopback address and answers to localhost, to an IP address, and to the names in status.Options.Hosts alone: " +
	"any web site can make its own name lead here, and then read what the page shows."

// ownHost reports whether the Host of r is one that the page goes by. Only a
// connection to a loopback address is asked: what reaches another one reaches it
// under names that the page cannot know.
//
// A web site whose name leads to 127.0.0.1 (DNS rebinding) is the same origin as the
// page for the browser of someone on this machine. Its requests carry its name. An IP
// address cannot be led elsewhere, and the browser itself knows localhost.
func (p *Page) ownHost(r *http.Request) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok || !local.IP.IsLoopback() || r.Host == "" { // every browser sends one
		return true
	}
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return true
	}
	return slices.ContainsFunc(p.opt.Hosts, func(own string) bool { return strings.EqualFold(own, host) })
}
