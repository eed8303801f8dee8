package metrics

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// calls counts the calls of an engine.
type calls struct {
	seconds *prometheus.HistogramVec
	errors  *prometheus.CounterVec
	running *prometheus.GaugeVec
}

// callBuckets range from a millisecond (a lookup) to minutes (a large layer).
var callBuckets = prometheus.ExponentialBuckets(0.001, 4, 9)

func newCalls() calls {
	return calls{
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: Namespace, Name: "operation_duration_seconds", Help: "How long calls of the engine took, those that failed included.",
			Buckets: callBuckets,
		}, []string{"operation"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: Namespace, Name: "operation_errors_total", Help: "Calls of the engine that failed, by the class of the error.",
		}, []string{"operation", "class"}),
		running: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: Namespace, Name: "operations_in_progress", Help: "Calls of the engine at work.",
		}, []string{"operation"}),
	}
}

func (c calls) all() []prometheus.Collector {
	return []prometheus.Collector{c.seconds, c.errors, c.running}
}

// Call counts a call that begins. The caller calls the returned function with its outcome.
func (m *Metrics) Call(op string) (ended func(error)) {
	op = label(op)
	began := time.Now()
	running := m.calls.running.WithLabelValues(op)
	running.Inc()
	return func(err error) {
		running.Dec()
		m.calls.seconds.WithLabelValues(op).Observe(time.Since(began).Seconds())
		if err != nil {
			m.calls.errors.WithLabelValues(op, class(err)).Inc()
		}
	}
}

func label(name string) string { return strings.NewReplacer(" ", "_", "-", "_").Replace(name) }

// class returns the error's class as a label. A call whose caller went away is "canceled",
// whatever its error: it says nothing about the store.
func class(err error) string {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return "canceled"
	}
	if c := fault.ClassOf(fault.Classify(err)); c != "" {
		return label(string(c))
	}
	return "other"
}
