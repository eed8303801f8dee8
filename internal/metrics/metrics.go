package metrics

import (
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/sirupsen/logrus"
)

// Namespace begins the names of all metrics.
const Namespace = "overlayzfs"

// Metrics are the metrics of one process: its calls, and what Register adds.
type Metrics struct {
	registry *prometheus.Registry
	calls    calls
	log      logrus.FieldLogger
}

// Build identifies the build of the process.
type Build struct{ Version, Commit string }

// New returns the metrics of a process.
func New(b Build, log logrus.FieldLogger) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), calls: newCalls(), log: log}
	m.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		buildInfo(b),
	)
	m.registry.MustRegister(m.calls.all()...)
	return m
}

// Register adds collectors. It panics when a name is taken.
func (m *Metrics) Register(c ...prometheus.Collector) { m.registry.MustRegister(c...) }

func buildInfo(b Build) prometheus.Collector {
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: Namespace, Name: "build_info", Help: "What the process was built from; always 1.",
		ConstLabels: prometheus.Labels{"version": b.Version, "commit": b.Commit, "goversion": runtime.Version()},
	})
	info.Set(1)
	return info
}

// Gatherer reads the metrics without serving them.
func (m *Metrics) Gatherer() prometheus.Gatherer { return m.registry }

// Handler answers scrapes. A scrape can wait for a pool, so few run at a time and each ends
// with a timeout.
func (m *Metrics) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog: m.log, MaxRequestsInFlight: 4, Timeout: 10 * time.Second,
	}))
	return mux
}
