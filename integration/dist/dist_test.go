//go:build !vm

// These tests do not run in the guest, which has neither docs/ nor dist/.

package dist

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metricsql"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/sirupsen/logrus"
	"go.yaml.in/yaml/v3"

	"github.com/overlayzfs/overlayzfs/internal/metrics"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
	"github.com/overlayzfs/overlayzfs/overlayzfs/storemetrics"
	"github.com/overlayzfs/overlayzfs/quota"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// fakeStore is an open store with a value for every statistic.
type fakeStore struct{}

func (fakeStore) Stats() (overlayzfs.Stats, error) {
	return overlayzfs.Stats{
		Dataset: "tank/docker",
		Pool:    zfs.Pool{Name: "tank", Health: "ONLINE", Size: 100, Allocated: 60, Free: 40},
		Space:   &overlayzfs.Space{},
		CopyUp:  overlayzfs.CopyUp{Took: time.Millisecond},
		Content: &overlayzfs.Content{Limited: []overlayzfs.LimitedLayer{{ID: "big", Limits: quota.Limits{Bytes: 100}, Usage: quota.Usage{Bytes: 95}}}},
	}, nil
}

// gatherAll gathers one sample of each metric.
func gatherAll() prometheus.Gatherer {
	log := logrus.New()
	m := metrics.New(metrics.Build{Version: "v1", Commit: "abc"}, log)
	m.Call("put")(errors.New("odd"))
	storemetrics.New(m, log).Watch(fakeStore{})
	return m.Gatherer()
}

// listExported lists all exported series, each with its labels.
func listExported(t *testing.T) map[string][]string {
	t.Helper()
	found, err := gatherAll().Gather()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string][]string{}
	for _, family := range found {
		labels := []string{"instance", "job"} // Prometheus adds these
		for _, pair := range family.Metric[0].Label {
			labels = append(labels, pair.GetName())
		}
		names[family.GetName()] = labels
		if family.GetType() == dto.MetricType_HISTOGRAM {
			delete(names, family.GetName())
			names[family.GetName()+"_bucket"] = append(slices.Clone(labels), "le")
			names[family.GetName()+"_sum"] = labels
			names[family.GetName()+"_count"] = labels
		}
	}
	return names
}

// checkExpression parses an expression and checks every series and label in it.
func checkExpression(t *testing.T, where, expression string) {
	t.Helper()
	// Values replace Grafana's variables.
	expression = strings.NewReplacer("$__rate_interval", "5m", "$instance", ".*").Replace(expression)
	parsed, err := metricsql.Parse(expression)
	if err != nil {
		t.Errorf("%s: %s: %v", where, expression, err)
		return
	}
	known := listExported(t)
	series := 0
	metricsql.VisitAll(parsed, func(e metricsql.Expr) {
		m, ok := e.(*metricsql.MetricExpr)
		if !ok {
			return
		}
		for _, filters := range m.LabelFilterss {
			series++
			checkSeries(t, where, filters, known)
		}
	})
	if series == 0 {
		t.Errorf("%s: %s queries no series", where, expression)
	}
}

func checkSeries(t *testing.T, where string, filters []metricsql.LabelFilter, known map[string][]string) {
	t.Helper()
	name := filters[0].Value
	labels, ok := known[name]
	if filters[0].Label != "__name__" || !ok {
		t.Errorf("%s: %s is not exported", where, name)
		return
	}
	for _, filter := range filters[1:] {
		if !slices.Contains(labels, filter.Label) {
			t.Errorf("%s: %s has no label %s", where, name, filter.Label)
		}
	}
}

// rules is the part of Prometheus's rule files that overlayzfs uses.
type rules struct {
	Groups []struct {
		Name  string `yaml:"name"`
		Rules []struct {
			Alert       string            `yaml:"alert"`
			Expr        string            `yaml:"expr"`
			For         time.Duration     `yaml:"for"`
			Labels      map[string]string `yaml:"labels"`
			Annotations map[string]string `yaml:"annotations"`
		} `yaml:"rules"`
	} `yaml:"groups"`
}

func TestAlertRulesUseExportedMetrics(t *testing.T) {
	var file rules
	decoder := yaml.NewDecoder(bytes.NewReader(readFile(t, "../../dist/prometheus/overlayzfs.rules.yml")))
	decoder.KnownFields(true)
	if err := decoder.Decode(&file); err != nil {
		t.Fatal(err)
	}
	docs := string(readFile(t, "../../docs/metrics.md"))
	seen := map[string]bool{}
	for _, group := range file.Groups {
		for _, rule := range group.Rules {
			checkExpression(t, rule.Alert, rule.Expr)
			if seen[rule.Alert] || !strings.Contains(docs, "`"+rule.Alert+"`") {
				t.Errorf("%s appears twice, or not in docs/metrics.md", rule.Alert)
			}
			seen[rule.Alert] = true
			if !slices.Contains([]string{"warning", "critical"}, rule.Labels["severity"]) || rule.Annotations["summary"] == "" || rule.Annotations["description"] == "" {
				t.Errorf("%s: labels %v, annotations %v", rule.Alert, rule.Labels, rule.Annotations)
			}
		}
	}
	if len(seen) < 10 {
		t.Errorf("%d rules", len(seen))
	}
}

// dashboard is the part of Grafana's format that the test checks.
type dashboard struct {
	Title         string `json:"title"`
	UID           string `json:"uid"`
	SchemaVersion int    `json:"schemaVersion"`
	Panels        []struct {
		ID      int    `json:"id"`
		Type    string `json:"type"`
		Title   string `json:"title"`
		GridPos struct {
			H int `json:"h"`
			W int `json:"w"`
			X int `json:"x"`
			Y int `json:"y"`
		} `json:"gridPos"`
		Targets []struct {
			Expr string `json:"expr"`
		} `json:"targets"`
	} `json:"panels"`
	Templating struct {
		List []struct {
			Name  string          `json:"name"`
			Query json.RawMessage `json:"query"`
		} `json:"list"`
	} `json:"templating"`
}

func TestTheDashboardUsesExportedMetrics(t *testing.T) {
	var d dashboard
	if err := json.Unmarshal(readFile(t, "../../dist/grafana/overlayzfs.json"), &d); err != nil {
		t.Fatal(err)
	}
	if d.Title == "" || d.UID == "" || d.SchemaVersion == 0 {
		t.Errorf("%+v", d)
	}
	ids, cells := map[int]bool{}, map[[2]int]string{}
	for _, p := range d.Panels {
		if ids[p.ID] {
			t.Errorf("two panels are number %d", p.ID)
		}
		ids[p.ID] = true
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("%q shows nothing", p.Title)
		}
		for _, target := range p.Targets {
			checkExpression(t, p.Title, target.Expr)
		}
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := cells[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("%q overlaps %q, or lies outside of the page", p.Title, other)
				}
				cells[[2]int{x, y}] = p.Title
			}
		}
	}
	for _, variable := range d.Templating.List {
		if variable.Name == "instance" && !strings.Contains(string(variable.Query), "overlayzfs_build_info") {
			t.Errorf("the variable instance asks %s", variable.Query)
		}
	}
}

// TestTheDocumentationListsEveryMetric compares docs/metrics.md with the exported
// metrics and labels, in both directions.
func TestTheDocumentationListsEveryMetric(t *testing.T) {
	docs := string(readFile(t, "../../docs/metrics.md"))
	rows := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(overlayzfs_[a-z_]+)` \\| (.*?) \\|").FindAllStringSubmatch(docs, -1) {
		rows[row[1]] = row[2]
	}
	families := map[string]bool{}
	for name, labels := range listExported(t) {
		if !strings.HasPrefix(name, "overlayzfs_") {
			continue
		}
		for _, suffix := range []string{"_bucket", "_sum"} {
			name = strings.TrimSuffix(name, suffix)
		}
		if strings.HasSuffix(name, "_seconds_count") {
			name = strings.TrimSuffix(name, "_count")
		}
		families[name] = true
		for _, label := range labels {
			if !slices.Contains([]string{"instance", "job", "le"}, label) && !strings.Contains(rows[name], "`"+label+"`") {
				t.Errorf("docs/metrics.md does not say that %s has a label %s", name, label)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(families)) {
		if _, ok := rows[name]; !ok {
			t.Errorf("docs/metrics.md lacks %s", name)
		}
	}
	for name := range rows {
		if !families[name] {
			t.Errorf("docs/metrics.md has %s, which is not exported", name)
		}
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
