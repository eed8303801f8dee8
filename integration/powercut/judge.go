package powercut

import (
	"fmt"
	"strings"

	"github.com/overlayzfs/overlayzfs/integration/powercut/layers"
	"github.com/overlayzfs/overlayzfs/integration/powercut/wire"
)

// verdict is what is wrong with one layer; the zero value is nothing.
type verdict struct {
	class Class
	text  string
}

func wrong(class Class, format string, args ...any) verdict {
	return verdict{class, fmt.Sprintf(format, args...)}
}

// judge says whether what a start found of a layer may be, after a power cut in
// the state that the list has. orderedLoss is set for a dataset that loses its last
// seconds as a whole (sync=disabled) and not some of what was not synced.
//
// maybe is set for a layer that such a loss may have taken.
func judge(y *layer, f wire.Found, orderedLoss, maybe bool) verdict {
	switch y.state {
	case removed:
		if f.Exists {
			return wrong(Back, "its removal was answered")
		}
		return verdict{}
	case removing:
		if !f.Exists || y.emptied {
			return verdict{}
		}
		return intact(y, f, orderedLoss)
	}
	switch y.Kind {
	case wire.Image:
		return judgeImage(y, f)
	case wire.Step:
		return judgeStep(y, f)
	case wire.View:
		return judgeView(y, f)
	}
	if maybe && !f.Exists {
		return verdict{}
	}
	return judgeContainer(y, f, orderedLoss)
}

// young reports whether nothing has yet made a container's layer durable that
// syncs nothing itself.
func (l *list) young(y *layer) bool { return !y.survived && y.counted > l.durable }

// intact is for a layer that is there although it need not: then it is whole.
func intact(y *layer, f wire.Found, orderedLoss bool) verdict {
	switch y.Kind {
	case wire.Image, wire.Step:
		return whole(y, f)
	case wire.Container:
		return judgeRecords(y, f, orderedLoss)
	}
	return verdict{}
}

// whole compares the content with what was answered for.
func whole(y *layer, f wire.Found) verdict {
	switch {
	case f.Wrong != "":
		return wrong(Torn, "%s", f.Wrong)
	case f.Digest != y.digest && f.Empty:
		return wrong(Torn, "it is empty")
	case f.Digest != y.digest && layers.OnlyTimes(f.Digest, y.digest):
		return wrong(Torn, "its files have other times")
	case f.Digest != y.digest:
		return wrong(Torn, "it has the digest %s, want %s", f.Digest, y.digest)
	}
	return verdict{}
}

// judgeImage: an image's layer counts from the answer to ApplyDiff, or to
// Commit, on. Before, nobody has recorded it: it is whole, or gone without being
// asked, or not committed, so that nobody takes it for whole.
func judgeImage(y *layer, f wire.Found) verdict {
	switch {
	case y.state == recorded && (!f.Exists || f.Open):
		return wrong(Lost, "its content was answered for")
	case y.state == recorded:
		return whole(y, f)
	case !f.Exists || f.Open:
		return verdict{}
	case y.state == filling && !f.Empty:
		return whole(y, f)
	}
	return wrong(Leftover, "%s, and kept", y.state)
}

// judgeStep: a step's layer counts from Create's answer on, its content from
// Diff's or Commit's. What is committed is whole, answered or not.
func judgeStep(y *layer, f wire.Found) verdict {
	switch {
	case y.state == creating && f.Exists && !f.Empty:
		return wrong(Torn, "there is something in a layer that nobody had yet")
	case y.state == creating:
		return verdict{}
	case !f.Exists:
		return wrong(Lost, "%s", y.state)
	case y.state == recorded && f.Open:
		return wrong(Lost, "its Commit was answered")
	case y.state == recorded, y.state == filling && y.snapshot && !f.Open:
		return whole(y, f)
	case y.snapshot && !f.Open:
		return wrong(Leftover, "%s, and committed", y.state)
	case f.Wrong != "":
		return wrong(Torn, "%s", f.Wrong)
	}
	return verdict{}
}

// judgeView: a view counts from its creation's answer on, and shows what it is a
// view of.
func judgeView(y *layer, f wire.Found) verdict {
	switch {
	case y.state == creating && !f.Exists:
		return verdict{}
	case !f.Exists:
		return wrong(Lost, "its creation was answered")
	case f.Wrong != "":
		return wrong(Torn, "%s", f.Wrong)
	}
	return verdict{}
}

// judgeContainer: a container's layers count from their creation's answer on.
func judgeContainer(y *layer, f wire.Found, orderedLoss bool) verdict {
	switch {
	case y.state == creating:
		return verdict{}
	case !f.Exists && y.Kind == wire.Init && !y.used:
		return verdict{} // the engine records it together with its container
	case !f.Exists:
		return wrong(Lost, "its creation was answered")
	case f.Wrong != "":
		return wrong(Torn, "%s", f.Wrong)
	case y.Kind == wire.Init:
		return verdict{}
	case y.size > 0 && f.Room > y.size+y.size/4:
		return wrong(Unlimited, "it was limited to %d bytes and sees %d", y.size, f.Room)
	}
	return judgeRecords(y, f, orderedLoss)
}

// judgeRecords: what a start has found stays; what was synced is there, unless
// the dataset syncs nothing; and what is there is the beginning of what was
// written.
func judgeRecords(y *layer, f wire.Found, orderedLoss bool) verdict {
	if y.survived && f.Records != y.before {
		return wrong(Torn, "its records were %q after the last start and are %q", y.before, f.Records)
	}
	at := func(n int) byte {
		if n > len(f.Records) {
			return layers.Missing
		}
		return f.Records[n-1]
	}
	if !orderedLoss {
		for n := range y.synced {
			if at(n) != layers.Whole {
				return wrong(Torn, "record %d was synced; the records are %q", n, f.Records)
			}
		}
	}
	beginning := f.Records
	if orderedLoss {
		beginning = strings.TrimLeft(f.Records, string(layers.Whole))
		beginning = strings.TrimPrefix(beginning, string(layers.Short))
		if beginning != "" {
			return wrong(Torn, "the records are %q: not the beginning of what was written", f.Records)
		}
	}
	if strings.ContainsAny(beginning, string(layers.Wrong)+string(layers.Missing)) {
		return wrong(Torn, "the records are %q", f.Records)
	}
	return verdict{}
}

// look judges a layer, and takes what was found into the list.
func (l *list) look(id string, f wire.Found, orderedLoss bool) verdict {
	y := l.byID[id]
	if y == nil {
		return wrong(Leftover, "the guest looked at a layer that is not in the list")
	}
	v := judge(y, f, orderedLoss, orderedLoss && l.young(y))
	switch {
	case v.class == Lost:
		l.forget(id)
	case v.class == Torn || v.class == Unlimited:
		// It is removed with the rest that is not wanted.
		y.state, y.emptied = removing, true
	case !f.Exists:
		l.forget(id)
	case y.state == removed:
		y.state = removing
	}
	y.before, y.survived = f.Records, true
	return v
}
