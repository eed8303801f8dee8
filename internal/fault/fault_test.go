package fault

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestInNamesOperationLayerAndDataset(t *testing.T) {
	err := AddContext(Op{Name: "create", Layer: "abc", Dataset: "tank/layers"}, errors.New("boom"))
	if got, want := err.Error(), "create layer abc on dataset tank/layers: boom"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if again := AddContext(Op{Name: "outer"}, err); again != err {
		t.Errorf("an error with a context was wrapped again: %v", again)
	}
	if AddContext(Op{Name: "x"}, nil) != nil {
		t.Error("nil became an error")
	}
}

func TestClassify(t *testing.T) {
	tests := []struct {
		err  error
		want Class
	}{
		{&os.PathError{Op: "write", Path: "f", Err: unix.ENOSPC}, NoSpace},
		{fmt.Errorf("deep: %w", unix.EDQUOT), LimitReached},
		{unix.EROFS, ReadOnly},
		{unix.EBUSY, Busy},
		{unix.EIO, PoolUnavailable},
		{os.ErrNotExist, NotFound},
		{New(Exists, "there: %w", unix.ENOSPC), Exists},
		{errors.New("else"), ""},
	}
	for _, tt := range tests {
		got := Classify(tt.err)
		if ClassOf(got) != tt.want {
			t.Errorf("Classify(%v) is %q, want %q", tt.err, ClassOf(got), tt.want)
		}
		if tt.want != "" && !errors.Is(got, tt.want) {
			t.Errorf("errors.Is(%v, %v) is false", got, tt.want)
		}
		if !errors.Is(got, tt.err) {
			t.Errorf("the cause of %v got lost", tt.err)
		}
	}
}

func TestTextAddsTheRemedy(t *testing.T) {
	if got := Text(unix.EINVAL); got != unix.EINVAL.Error() {
		t.Errorf("an error without a remedy became %q", got)
	}
	for class := range remedies {
		if got := Text(New(class, "x")); !strings.HasPrefix(got, "x; ") {
			t.Errorf("Text of %v is %q", class, got)
		}
	}
}

// TestAnExplicitRemedyIsTheOnlyOne: wrapping adds no second remedy.
func TestAnExplicitRemedyIsTheOnlyOne(t *testing.T) {
	for class := range remedies {
		told := NewWithRemedy(class, "unmount it (%w)", unix.EBUSY)
		if ClassOf(told) != class || !errors.Is(told, unix.EBUSY) {
			t.Errorf("%v became %v", class, told)
		}
		for _, err := range []error{told, fmt.Errorf("deep: %w", told), AddContext(Op{Name: "get"}, told), errors.Join(told, errors.New("x"))} {
			if got := Text(err); got != err.Error() {
				t.Errorf("Text of %v is %q", err, got)
			}
		}
		if got := Text(New(class, "%w", told)); got == told.Error() {
			t.Errorf("what says more of it has no remedy: %q", got)
		}
	}
}

func TestHostileLayerNamesStayShort(t *testing.T) {
	for _, id := range []string{strings.Repeat("a", 5000), "a\nb", "a\x00b"} {
		got := AddContext(Op{Name: "get", Layer: id}, errors.New("x")).Error()
		if len(got) > 200 || strings.ContainsAny(got, "\n\x00") {
			t.Errorf("the text for a hostile ID is %q", got)
		}
	}
}
