package powercut

import (
	"slices"
	"strings"
	"testing"

	"github.com/overlayzfs/overlayzfs/integration/powercut/wire"
)

// These tests are about the harness's own judgement: what was answered, what is
// found, and what it says of it.

const someDigest = "aaaa.0000"

func event(verb wire.Verb, call wire.Call, kind wire.Kind) wire.Event {
	return wire.Event{Verb: verb, Call: call, ID: "y", Parent: "p", Kind: kind, Digest: someDigest}
}

// heard is a list that heard of one layer, in shorthand: "c" and "C" that it is
// being created and was, "f" and "F" the same of filling, "r" and "R" of removing.
func heard(kind wire.Kind, story string) *list { return heardFrom(Plugin, kind, story) }

func heardFrom(driver string, kind wire.Kind, story string) *list {
	l := newList(driver)
	calls := map[rune]wire.Call{'c': wire.Create, 'f': wire.Fill, 'r': wire.Remove}
	for _, letter := range story {
		if call, ok := calls[letter]; ok {
			l.hear(event(wire.Begin, call, kind))
			continue
		}
		l.hear(event(wire.Done, calls[letter-'A'+'a'], kind))
	}
	return l
}

func TestJudgement(t *testing.T) {
	absent := wire.Found{}
	empty := wire.Found{Exists: true, Empty: true, Digest: "eeee.0000"}
	right := wire.Found{Exists: true, Digest: someDigest}
	other := wire.Found{Exists: true, Digest: "bbbb.0000"}
	times := wire.Found{Exists: true, Digest: "aaaa.1111"}
	broken := wire.Found{Exists: true, Digest: someDigest, Wrong: "it does not mount"}
	judges(t, Plugin, []judgement{
		{wire.Image, "c", absent, ""},
		{wire.Image, "c", empty, Leftover},
		{wire.Image, "cC", absent, ""},
		{wire.Image, "cC", empty, Leftover},
		{wire.Image, "cCf", absent, ""},
		{wire.Image, "cCf", right, ""},
		{wire.Image, "cCf", empty, Leftover},
		{wire.Image, "cCf", other, Torn},
		{wire.Image, "cCf", times, Torn},
		{wire.Image, "cCf", broken, Torn},
		{wire.Image, "cCfF", right, ""},
		{wire.Image, "cCfF", absent, Lost},
		{wire.Image, "cCfF", empty, Torn},
		{wire.Image, "cCfF", other, Torn},
		{wire.Image, "cCfF", times, Torn},
		{wire.Image, "cCfF", broken, Torn},
		{wire.Image, "cCfFr", absent, ""},
		{wire.Image, "cCfFr", right, ""},
		{wire.Image, "cCfFr", other, Torn},
		{wire.Image, "cCfFrR", absent, ""},
		{wire.Image, "cCfFrR", right, Back},

		{wire.Step, "c", absent, ""},
		{wire.Step, "c", empty, ""},
		{wire.Step, "c", other, Torn},
		{wire.Step, "cC", absent, Lost},
		{wire.Step, "cC", empty, ""},
		{wire.Step, "cC", other, ""},
		{wire.Step, "cCf", absent, Lost},
		{wire.Step, "cCf", other, ""},
		{wire.Step, "cCf", broken, Torn},
		{wire.Step, "cCfF", right, ""},
		{wire.Step, "cCfF", empty, Torn},
		{wire.Step, "cCfF", absent, Lost},

		{wire.Container, "c", absent, ""},
		{wire.Container, "c", right, ""},
		{wire.Container, "cC", right, ""},
		{wire.Container, "cC", absent, ""},
		{wire.Container, "cC", broken, Torn},
		{wire.Container, "cCr", absent, ""},
		{wire.Container, "cCrR", right, Back},
		{wire.Init, "cC", right, ""},
		{wire.Init, "cC", absent, ""},
	})
}

// judgement is what is to be said of a layer after a story.
type judgement struct {
	kind  wire.Kind
	story string
	found wire.Found
	want  Class
}

func judges(t *testing.T, driver string, judgements []judgement) {
	for _, c := range judgements {
		t.Run(string(c.kind)+" "+c.story+" "+string(c.want), func(t *testing.T) {
			l := heardFrom(driver, c.kind, c.story)
			if v := l.look("y", c.found, true); v.class != c.want {
				t.Errorf("%q (%s), want %q", v.class, v.text, c.want)
			}
		})
	}
}

// TestAContainerIsAsItsDatasetSyncs: with sync=disabled the last seconds may be
// missing, but nothing from before a barrier.
func TestAContainerIsAsItsDatasetSyncs(t *testing.T) {
	other := func(verb wire.Verb) wire.Event {
		return wire.Event{Verb: verb, Call: wire.Fill, ID: "image", Kind: wire.Image}
	}
	for _, c := range []struct {
		name            string
		orderedLoss     bool
		before, barrier bool // the barrier began before the layer was made; it was answered
		want            Class
	}{
		{"standard", false, false, false, Lost},
		{"disabled, nothing since", true, false, false, ""},
		{"disabled, a barrier under way since before", true, true, true, ""},
		{"disabled, a barrier that was not answered", true, false, false, ""},
		{"disabled, a barrier since", true, false, true, Lost},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newList(Plugin)
			l.hear(wire.Event{Verb: wire.Begin, Call: wire.Create, ID: "image", Kind: wire.Image})
			if c.before {
				l.hear(other(wire.Begin))
			}
			l.hear(event(wire.Begin, wire.Create, wire.Container))
			l.hear(event(wire.Done, wire.Create, wire.Container))
			if !c.before {
				l.hear(other(wire.Begin))
			}
			if c.barrier {
				l.hear(other(wire.Done))
			}
			if v := l.look("y", wire.Found{}, c.orderedLoss); v.class != c.want {
				t.Errorf("%q (%s), want %q", v.class, v.text, c.want)
			}
		})
	}
}

// TestTheBarrierOfAStepIsInItsPut: a plugin's Diff of a build step does not wait again, so a
// container that was made between the two may be missing.
func TestTheBarrierOfAStepIsInItsPut(t *testing.T) {
	step := func(verb wire.Verb, call wire.Call) wire.Event {
		return wire.Event{Verb: verb, Call: call, ID: "step", Kind: wire.Step}
	}
	for _, c := range []struct {
		name   string
		before bool // the container was there before the step
		want   Class
	}{{"before the step", true, Lost}, {"after its Put", false, ""}} {
		l := newList(Plugin)
		create := func() {
			l.hear(event(wire.Begin, wire.Create, wire.Container))
			l.hear(event(wire.Done, wire.Create, wire.Container))
		}
		if c.before {
			create()
		}
		l.hear(step(wire.Begin, wire.Create))
		l.hear(step(wire.Done, wire.Create))
		if !c.before {
			create()
		}
		l.hear(step(wire.Begin, wire.Fill))
		l.hear(step(wire.Done, wire.Fill))
		if v := l.look("y", wire.Found{}, true); v.class != c.want {
			t.Errorf("%s: %q (%s), want %q", c.name, v.class, v.text, c.want)
		}
	}
}

func TestJudgementOfRecords(t *testing.T) {
	const written = 5 // of them 2 and 4 synced
	for _, c := range []struct {
		records     string
		orderedLoss bool
		want        Class
	}{
		{"wwwww", false, ""},
		{"wwww", false, ""},
		{"swsws", false, ""},
		{"wwws", false, Torn},
		{"www", false, Torn},
		{"", false, Torn},
		{"-wwww", false, Torn},
		{"xwwww", false, Torn},
		{"wwwww", true, ""},
		{"www", true, ""},
		{"wws", true, ""},
		{"", true, ""},
		{"wsw", true, Torn},
		{"ww-w", true, Torn},
		{"wwx", true, Torn},
	} {
		l := heard(wire.Container, "cC")
		for n := 1; n <= written; n++ {
			l.hear(wire.Event{Verb: wire.Done, Call: wire.Write, ID: "y", Record: n, Synced: n%2 == 0})
		}
		found := wire.Found{Exists: true, Records: c.records}
		if v := l.look("y", found, c.orderedLoss); v.class != c.want {
			t.Errorf("%q, in order %t: %q (%s), want %q", c.records, c.orderedLoss, v.class, v.text, c.want)
		}
		if c.want != "" || c.records == "" {
			continue
		}
		// A record that one start has found must not be missing at the next.
		found.Records = c.records[1:]
		if v := l.look("y", found, c.orderedLoss); v.class != Torn {
			t.Errorf("%q became %q: %q, want torn", c.records, found.Records, v.class)
		}
	}
}

// The engine records an init layer with its container, not before.
func TestAnInitLayerGoesWithItsContainer(t *testing.T) {
	for _, c := range []struct {
		story string
		want  Class
	}{{"", ""}, {"c", ""}, {"cC", Lost}, {"cCr", ""}, {"cCrR", ""}} {
		l := newList(Plugin)
		init := wire.Event{Call: wire.Create, ID: "p", Kind: wire.Init}
		for _, init.Verb = range []wire.Verb{wire.Begin, wire.Done} {
			l.hear(init)
		}
		for _, letter := range c.story {
			calls := map[rune]wire.Event{'c': event(wire.Begin, wire.Create, wire.Container), 'C': event(wire.Done, wire.Create, wire.Container), 'r': event(wire.Begin, wire.Remove, wire.Container), 'R': event(wire.Done, wire.Remove, wire.Container)}
			l.hear(calls[letter])
		}
		if v := l.look("p", wire.Found{}, false); v.class != c.want {
			t.Errorf("container %q: %q, want %q", c.story, v.class, c.want)
		}
	}
}

func TestALimitIsKept(t *testing.T) {
	l := newList(Plugin)
	for _, verb := range []wire.Verb{wire.Begin, wire.Done} {
		l.hear(wire.Event{Verb: verb, Call: wire.Create, ID: "y", Kind: wire.Container, Size: 64 << 20})
	}
	if v := l.look("y", wire.Found{Exists: true, Room: 64 << 20}, true); v.class != "" {
		t.Errorf("%q: %s", v.class, v.text)
	}
	if v := l.look("y", wire.Found{Exists: true, Room: 1 << 30}, true); v.class != Unlimited {
		t.Errorf("%q: %s", v.class, v.text)
	}
}

func TestUnfinishedLayersAreDropped(t *testing.T) {
	l := newList(Plugin)
	make := func(id, parent string, kind wire.Kind, fill bool) {
		for _, verb := range []wire.Verb{wire.Begin, wire.Done} {
			l.hear(wire.Event{Verb: verb, Call: wire.Create, ID: id, Parent: parent, Kind: kind})
		}
		if fill {
			for _, verb := range []wire.Verb{wire.Begin, wire.Done} {
				l.hear(wire.Event{Verb: verb, Call: wire.Fill, ID: id, Digest: someDigest})
			}
		}
	}
	make("base", "", wire.Image, true)
	make("unfinished", "base", wire.Step, false)
	make("torn", "base", wire.Image, true)
	make("on-torn", "torn", wire.Step, true)
	make("c-init", "on-torn", wire.Init, false)
	make("c", "c-init", wire.Container, false)
	l.look("torn", wire.Found{Exists: true, Digest: "bbbb.0000"}, true)
	if got := strings.Join(l.drops().IDs, " "); got != "c c-init on-torn torn unfinished" {
		t.Errorf("%q", got)
	}
	l.look("torn", wire.Found{}, true)
	if got := strings.Join(l.drops().IDs, " "); got != "c c-init on-torn unfinished" {
		t.Errorf("without torn: %q", got)
	}
}

func TestStrangers(t *testing.T) {
	l := newList(Plugin)
	for id, size := range map[string]int64{"kept": 0, "limited": 1 << 20} {
		for _, verb := range []wire.Verb{wire.Begin, wire.Done} {
			l.hear(wire.Event{Verb: verb, Call: wire.Create, ID: id, Kind: wire.Container, Size: size})
		}
	}
	names, drop := l.strangers([]string{
		"layer kept", "layer limited", "layer unknown",
		"dataset limited", "limits limited", "dataset kept", "limits S", "mutable kept", "apply kept",
		"link S", ".overlayzfs/trash/S",
	})
	want := []string{"layer unknown", "dataset kept", "limits S", "mutable kept", "apply kept", "link S", ".overlayzfs/trash/S"}
	if !slices.Equal(names, want) || !slices.Equal(drop.IDs, []string{"unknown"}) {
		t.Errorf("%q, %q", names, drop.IDs)
	}
}

func TestStrangersOfAnEngine(t *testing.T) {
	all := []string{"layer X", "limits X", "dataset KEY", "link S", ".overlayzfs/trash/S"}
	want := []Class{Unrecorded, Unrecorded, Leftover, Leftover, Leftover}
	for i, name := range all {
		if got := stranger(EngineTier, name, all); got != want[i] {
			t.Errorf("%s is %s with an engine", name, got)
		}
		if got := stranger(DriverTier, name, all); got != Leftover {
			t.Errorf("%s is %s without one", name, got)
		}
	}
}
