package metrics

import (
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/overlayzfs"
)

const namespace = "overlayzfs"

// Metrics are those of one process: a door, and the store behind it.
type Metrics struct {
	registry *prometheus.Registry
	calls    calls
	barriers barriers
	store    *store
	log      logrus.FieldLogger
}

var _ overlayzfs.Observer = (*Metrics)(nil)

// Build is what the process was built from.
type Build struct{ Version, Commit string }

// New returns the metrics of a process in which nothing happened yet.
func New(b Build, log logrus.FieldLogger) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), calls: newCalls(), barriers: newBarriers(), store: newStore(log), log: log}
	m.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		buildInfo(b),
		m.store,
	)
	m.registry.MustRegister(m.calls.all()...)
	m.registry.MustRegister(m.barriers.all()...)
	return m
}

func buildInfo(b Build) prometheus.Collector {
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: namespace, Name: "build_info", Help: "What the process was built from; always 1.",
		ConstLabels: prometheus.Labels{"version": b.Version, "commit": b.Commit, "goversion": runtime.Version()},
	})
	info.Set(1)
	return info
}

// Handler answers a scrape. One that waits for a pool does not take others with
// it for long: few are let in, and each is given up in time.
func (m *Metrics) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog: m.log, MaxRequestsInFlight: 4, Timeout: 10 * time.Second,
	}))
	return mux
}

// Opened is overlayzfs.Observer's.
func (m *Metrics) Opened(d *overlayzfs.Driver) { m.store.opened(d) }

// Closed is overlayzfs.Observer's.
func (m *Metrics) Closed(d *overlayzfs.Driver) { m.store.closed(d) }

// Waited is overlayzfs.Observer's.
func (m *Metrics) Waited(b overlayzfs.Barrier, took time.Duration, err error) {
	m.barriers.waited(b, took, err)
}
