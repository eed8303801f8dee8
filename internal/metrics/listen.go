package metrics

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/unixsock"
)

// EnvAddress is the environment variable with the address of metrics.
const EnvAddress = "OVERLAYZFS_METRICS"

// Address is where metrics are served. The zero Address means nowhere.
type Address struct{ network, address string }

// ParseAddress parses unix:/PATH, or IP:PORT with a loopback address. It refuses addresses
// that other hosts reach, because metrics are served without access control.
func ParseAddress(text string) (Address, error) {
	if text == "" {
		return Address{}, nil
	}
	if path, ok := strings.CutPrefix(text, "unix:"); ok {
		if !filepath.IsAbs(path) {
			return Address{}, fault.New(fault.Invalid, "metrics address %q: want an absolute path behind unix:", text)
		}
		return Address{"unix", path}, nil
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return Address{}, fault.New(fault.Invalid, "metrics address %q: want unix:/PATH, 127.0.0.1:PORT or [::1]:PORT", text)
	}
	ip, err := netip.ParseAddr(host)
	if err != nil || !ip.IsLoopback() {
		return Address{}, fault.New(fault.Invalid, "metrics address %q: only loopback addresses are served, 127.0.0.1 or [::1]; put a proxy with access control in front of it for others", text)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return Address{}, fault.New(fault.Invalid, "metrics address %q: want a port of 1 to 65535", text)
	}
	return Address{"tcp", text}, nil
}

// None reports whether metrics are served nowhere.
func (a Address) None() bool { return a == Address{} }

// String is the address as it is written.
func (a Address) String() string {
	if a.network == "unix" {
		return "unix:" + a.address
	}
	return a.address
}

// Alone reports whether the address is in a network namespace without any interface but
// the loopback, so that nobody outside reaches it.
func (a Address) Alone() bool {
	if a.network != "tcp" {
		return false
	}
	interfaces, err := net.Interfaces()
	return err == nil && !slices.ContainsFunc(interfaces, func(i net.Interface) bool { return i.Flags&net.FlagLoopback == 0 })
}

func (a Address) listen() (net.Listener, error) {
	if a.network == "unix" {
		return unixsock.Listen(a.address)
	}
	return net.Listen(a.network, a.address)
}

// Start serves the metrics until stop is called; stop waits for the server's end. A failure
// to serve is only logged, because layers matter more than their metrics.
func (m *Metrics) Start(a Address) (stop func()) {
	if a.None() {
		return func() {}
	}
	log := m.log.WithField("metrics", a.String())
	l, err := a.listen()
	if err != nil {
		log.WithError(err).Error("no metrics are served")
		return func() {}
	}
	server := &http.Server{Handler: m.Handler(), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.WithError(err).Error("no metrics are served any more")
		}
	}()
	log.Info("metrics are served")
	return func() {
		// Scrapes at work are cut: nothing is lost with one.
		if err := server.Close(); err != nil {
			log.WithError(err).Warn("metrics: closing")
		}
		<-done
	}
}
