package plugin

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"
)

var badRequests = []struct{ name, body, want string }{
	{"empty", ``, "body is empty"},
	{"blank", " \n", "body is empty"},
	{"cut", `{"ID":"a"`, "not the JSON"},
	{"text", `hello`, "not the JSON"},
	{"array", `[]`, "not the JSON"},
	{"number for a name", `{"ID":1,"Home":1}`, "not the JSON"},
	{"null", `null`, "names no"},
	{"nothing in it", `{}`, "names no"},
	{"empty name", `{"ID":"","Home":""}`, "names no"},
	{"not UTF-8", "{\"ID\":\"a\xff\",\"Home\":\"/h\xff\"}", "not UTF-8"},
	{"endless", `{"ID":"` + strings.Repeat("x", maxRequest) + `"}`, "larger than"},
	{"endless blanks", strings.Repeat(" ", maxRequest+1), "larger than"},
	{"deep", strings.Repeat(`{"a":`, 100000), "not the JSON"},
}

// TestBadRequests: no call acts on a body that does not say what to do. An
// empty one comes from the engine itself, which repeats calls without it.
func TestBadRequests(t *testing.T) {
	d := newFake()
	r := started(t, d)
	for _, call := range []string{callInit, callCreate, callCreateReadWrite, callGet, callPut, callRemove, callExists, callMetadata, callChanges, callDiff, callDiffSize} {
		for _, tt := range badRequests {
			status, answer := r.post(t, call, strings.NewReader(tt.body))
			if wantStatus := map[bool]int{true: 500, false: 200}[call == callDiff]; status != wantStatus {
				t.Errorf("%s, %s: status %d, want %d", call, tt.name, status, wantStatus)
			}
			if !strings.HasPrefix(answer, `{"Err":"`) || !strings.Contains(answer, tt.want) {
				t.Errorf("%s, %s: answered %s", call, tt.name, answer)
			}
		}
	}
	if asked := d.joinCalls(); asked != "" {
		t.Errorf("the driver was asked %s", asked)
	}
}

func TestBadIDMaps(t *testing.T) {
	for _, maps := range []string{
		`{"container_id":-1,"host_id":0,"size":1}`,
		`{"container_id":0,"host_id":0,"size":0}`,
		`{"container_id":0,"host_id":4294967295,"size":2}`,
		`{"container_id":9223372036854775807,"host_id":0,"size":9223372036854775807}`,
	} {
		if _, err := decodeInit(strings.NewReader(`{"Home":"/h","GIDMaps":[` + maps + `]}`)); err == nil {
			t.Errorf("%s was taken", maps)
		}
	}
}

func TestBadQueries(t *testing.T) {
	for _, query := range []string{"", "parent=b", "id=", "id=a&id=b", "id=a&parent=b&parent=c", "id=%zz", "id=a;b"} {
		if q, err := decodeQuery(query); err == nil {
			t.Errorf("%q was taken as %+v", query, q)
		}
	}
}

func FuzzDecodeLayer(f *testing.F) {
	for _, tt := range wire {
		f.Add([]byte(tt.request))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		q, err := decodeLayer(bytes.NewReader(body))
		if err == nil && (q.ID == "" || !utf8.ValidString(q.ID+q.Parent)) {
			t.Errorf("%q gave %+v", body, q)
		}
	})
}

func FuzzDecodeInit(f *testing.F) {
	f.Add([]byte(`{"Home":"/h","Opts":["k=v"],"UIDMaps":[{"container_id":0,"host_id":100000,"size":65536}],"GIDMaps":null}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		p, err := decodeInit(bytes.NewReader(body))
		if err != nil {
			return
		}
		data, err := encodeState(p, nil)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := decodeState(data); err != nil || !again.equal(p) {
			t.Errorf("%+v came back from the state file as %+v, %v", p, again, err)
		}
	})
}

func FuzzDecodeQuery(f *testing.F) {
	f.Add("id=a&parent=b")
	f.Add("id=%00%ff")
	f.Fuzz(func(t *testing.T, raw string) {
		if q, err := decodeQuery(raw); err == nil && q.ID == "" {
			t.Errorf("%q names no layer", raw)
		}
	})
}

func FuzzDecodeState(f *testing.F) {
	f.Add([]byte(`{"version":1,"home":"/h","opts":["k=v"],"uid_maps":[{"container_id":0,"host_id":1,"size":2}]}`))
	f.Add([]byte(`{"version":2}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if p, err := decodeState(data); err == nil && p.check() != nil {
			t.Errorf("%q gave %+v", data, p)
		}
	})
}
