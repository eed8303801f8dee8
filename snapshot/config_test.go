package snapshot

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

func TestParsePolicy(t *testing.T) {
	for text, want := range map[string]Policy{
		"":                         {},
		" off ":                    {},
		"stop:3":                   {Stop: 3},
		"daily:7, stop:3":          {Stop: 3, Daily: 7},
		"hourly:10000,committed:1": {Hourly: 10000, Committed: 1},
	} {
		got, err := ParsePolicy(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
		if again, err := ParsePolicy(got.String()); err != nil || !cmp.Equal(got, again) {
			t.Errorf("%q became %q, and that %v, %v", text, got, again, err)
		}
	}
}

func TestParsePolicyNamesTheEntryItRefuses(t *testing.T) {
	for text, entry := range map[string]string{
		"stop":                      `"stop"`,
		"stop:3,":                   `""`,
		"stop:0":                    `"stop:0"`,
		"stop:-1":                   `"stop:-1"`,
		"stop:10001":                `"stop:10001"`,
		"stop:3,daily:many":         `"daily:many"`,
		"stop:3,never:1":            `"never:1"`,
		"manual:3":                  `"manual:3"`,
		"off,stop:3":                `"off"`,
		"stop:3,stop:4":             "stop is named twice",
		"stop:99999999999999999999": `"stop:9`,
	} {
		_, err := ParsePolicy(text)
		if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), entry) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
