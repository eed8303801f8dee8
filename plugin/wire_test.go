package plugin

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
)

// wire is the contract with the engine: what it sends, what the driver is asked,
// what goes back. The texts are the protocol's and change only with it.
var wire = []struct {
	call, request, asked, answer string
}{
	{"GraphDriver.Capabilities", `{}`, ``, `{"Capabilities":{"ReproducesExactDiffs":false}}`},
	{"GraphDriver.Create", `{"ID":"a","Parent":"b"}`, `create "a" "b" {MountLabel: StorageOpt:map[] ReadWrite:false Recorded:true Exempt:false}`, `{}`},
	{"GraphDriver.CreateReadWrite", `{"ID":"a","Parent":"b","MountLabel":"l","StorageOpt":{"size":"10G"}}`, `create "a" "b" {MountLabel:l StorageOpt:map[size:10G] ReadWrite:true Recorded:true Exempt:false}`, `{}`},
	{"GraphDriver.Get", `{"ID":"a","MountLabel":"l"}`, `get "a" "l"`, `{"Dir":"/home/a"}`},
	{"GraphDriver.Put", `{"ID":"a"}`, `put "a"`, `{}`},
	{"GraphDriver.Remove", `{"ID":"a"}`, `remove "a"`, `{}`},
	{"GraphDriver.Exists", `{"ID":"a"}`, `exists "a"`, `{"Exists":true}`},
	{"GraphDriver.Exists", `{"ID":"missing"}`, `exists "missing"`, `{"Exists":false}`},
	{"GraphDriver.GetMetadata", `{"ID":"a"}`, `metadata "a"`, `{"Metadata":{"UpperDir":"/u"}}`},
	{"GraphDriver.Status", `{}`, `status`, `{"Status":[["Pool","tank"],["Health","ONLINE"]]}`},
	{"GraphDriver.Cleanup", `{}`, `cleanup`, `{}`},
	{"GraphDriver.Changes", `{"ID":"a","Parent":"b"}`, `changes "a" "b"`, `{"Changes":[{"Path":"/m","Kind":0},{"Path":"/a<b","Kind":1},{"Path":"/d","Kind":2}]}`},
	{"GraphDriver.Diff", `{"ID":"a","Parent":"b"}`, `diff "a" "b"`, `tar of a`},
	{"GraphDriver.DiffSize", `{"ID":"a","Parent":"b"}`, `diff size "a" "b"`, `{"Size":42}`},
	{"GraphDriver.ApplyDiff?id=a&parent=b", `0123456789`, `apply "a" "b"`, `{"Size":10}`},
	{"OverlayZFS.Limit", `{"ID":"a","StorageOpt":{"size":"20G"}}`, `limit "a" map[size:20G]`, `{}`},

	// Calls that only a tolerant reader accepts.
	{"GraphDriver.Put", `{"ID":"a","Later":{"x":[1]}} trailing`, `put "a"`, `{}`},
	{"GraphDriver.Put", `{"id":"a"}`, `put "a"`, `{}`},
	{"GraphDriver.Status", ``, `status`, `{"Status":[["Pool","tank"],["Health","ONLINE"]]}`},
	{"GraphDriver.ApplyDiff?id=a&parent=", `0`, `apply "a" ""`, `{"Size":1}`},
}

func TestWire(t *testing.T) {
	for _, tt := range wire {
		t.Run(tt.call, func(t *testing.T) {
			d := newFake()
			d.metadata = map[string]string{"UpperDir": "/u"}
			r := started(t, d)
			status, answer := r.post(t, tt.call, strings.NewReader(tt.request))
			if status != http.StatusOK || strings.TrimSuffix(answer, "\n") != tt.answer {
				t.Errorf("answered %d %s, want %s", status, answer, tt.answer)
			}
			if got := d.joinCalls(); got != tt.asked {
				t.Errorf("the driver was asked %s, want %s", got, tt.asked)
			}
		})
	}
}

func TestActivation(t *testing.T) {
	r := serve(t, always(newFake()), "")
	if status, answer := r.post(t, "Plugin.Activate", nil); status != http.StatusOK || strings.TrimSpace(answer) != `{"Implements":["GraphDriver"]}` {
		t.Errorf("answered %d %s", status, answer)
	}
	if status, _ := r.post(t, "GraphDriver.Later", strings.NewReader("{}")); status != http.StatusNotFound {
		t.Errorf("an unknown call got status %d, want 404, by which the engine knows that it is not there", status)
	}
}

func TestInitOnTheWire(t *testing.T) {
	var got InitParams
	r := serve(t, func(_ context.Context, p InitParams) (Driver, error) { got = p; return newFake(), nil }, "")
	request := `{"Home":"/h","Opts":["k=v"],"UIDMaps":[{"container_id":0,"host_id":100000,"size":65536}],"GIDMaps":null}`
	if status, answer := r.post(t, "GraphDriver.Init", strings.NewReader(request)); status != http.StatusOK || answer != "{}\n" {
		t.Fatalf("answered %d %s", status, answer)
	}
	want := InitParams{Home: "/h", Opts: []string{"k=v"}, UIDMaps: []IDMap{{0, 100000, 65536}}}
	if !got.equal(want) {
		t.Errorf("opened with %+v, want %+v", got, want)
	}
	if uid, _ := got.Identity().RootPair(); uid != 100000 {
		t.Errorf("root is %d, want 100000", uid)
	}
}

// TestClientOnTheWire checks the client against the same contract: what it
// sends is what an engine sends.
func TestClientOnTheWire(t *testing.T) {
	var got string
	peer := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got = r.Method + " " + r.URL.RequestURI() + " " + string(body)
		io.WriteString(w, "{}")
	}))
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	peer.Listener.Close()
	peer.Listener = l
	peer.Start()
	defer peer.Close()
	c := newClient(socket)
	defer c.Close()
	ctx := t.Context()
	for want, call := range map[string]func() error{
		`POST /Plugin.Activate `:                            func() error { _, err := c.Activate(ctx); return err },
		`POST /GraphDriver.Capabilities {}`:                 func() error { _, err := c.ReproducesExactDiffs(ctx); return err },
		`POST /GraphDriver.Create {"ID":"a","Parent":"b"}`:  func() error { return c.Create(ctx, "a", "b", CreateOptions{}) },
		`POST /GraphDriver.CreateReadWrite {"ID":"a"}`:      func() error { return c.Create(ctx, "a", "", CreateOptions{ReadWrite: true}) },
		`POST /GraphDriver.Get {"ID":"a","MountLabel":"l"}`: func() error { _, err := c.Get(ctx, "a", "l"); return err },
		`POST /GraphDriver.Put {"ID":"a"}`:                  func() error { return c.Put(ctx, "a") },
		`POST /GraphDriver.Remove {"ID":"a"}`:               func() error { return c.Remove(ctx, "a") },
		`POST /GraphDriver.Exists {"ID":"a"}`:               func() error { _, err := c.Exists(ctx, "a"); return err },
		`POST /GraphDriver.GetMetadata {"ID":"a"}`:          func() error { _, err := c.Metadata(ctx, "a"); return err },
		`POST /GraphDriver.Status {}`:                       func() error { _, err := c.Status(ctx); return err },
		`POST /GraphDriver.Cleanup {}`:                      func() error { return c.Cleanup(ctx) },
		`POST /GraphDriver.Changes {"ID":"a","Parent":"b"}`: func() error { _, err := c.Changes(ctx, "a", "b"); return err },
		`POST /GraphDriver.DiffSize {"ID":"a"}`:             func() error { _, err := c.DiffSize(ctx, "a", ""); return err },
		`POST /GraphDriver.ApplyDiff?id=a%26&parent= tar`:   func() error { _, err := c.ApplyDiff(ctx, "a&", "", strings.NewReader("tar")); return err },
		`POST /GraphDriver.Init {"Home":"/h","Opts":["k=v"],"UIDMaps":[{"container_id":0,"host_id":1,"size":2}],"GIDMaps":null}`: func() error {
			return c.Init(ctx, InitParams{Home: "/h", Opts: []string{"k=v"}, UIDMaps: []IDMap{{0, 1, 2}}})
		},
	} {
		if err := call(); err != nil {
			t.Errorf("%s: %v", want, err)
		}
		if got != want {
			t.Errorf("sent %s\nwant %s", got, want)
		}
	}
}

// TestHostileIDsPassUntouched: the driver judges IDs, the protocol must not
// change them on the way.
func TestHostileIDsPassUntouched(t *testing.T) {
	for _, id := range []string{"..", "../../etc", "a/b", "a\x00b", "a\nb", `"`, "é", "a&parent=x", "a%00", strings.Repeat("x", 70000), "\u2028<>"} {
		d := newFake()
		var got []string
		d.hook = func(_ context.Context, call string) { got = append(got, call) }
		r := started(t, d)
		if err := r.Put(t.Context(), id); err != nil {
			t.Error(err)
		}
		if len(id) < 1000 {
			if _, err := r.ApplyDiff(t.Context(), id, id, strings.NewReader("x")); err != nil {
				t.Error(err)
			}
		}
		if want := (&fake{}).ask(func(f *fake) { f.Put(t.Context(), id) }); got[0] != want {
			t.Errorf("%q became %s", id, got[0])
		}
		if want := (&fake{}).ask(func(f *fake) { f.ApplyDiff(t.Context(), id, id, strings.NewReader("")) }); len(got) > 1 && got[1] != want {
			t.Errorf("%q became %s", id, got[1])
		}
	}
	// JSON cannot carry these, the URL can.
	d := newFake()
	if _, err := started(t, d).ApplyDiff(t.Context(), "a\xff", "", strings.NewReader("x")); err != nil {
		t.Error(err)
	}
	if got, want := d.joinCalls(), `apply "a\xff" ""`; got != want {
		t.Errorf("asked %s, want %s", got, want)
	}
}

func (f *fake) ask(do func(*fake)) string {
	do(f)
	return f.joinCalls()
}
