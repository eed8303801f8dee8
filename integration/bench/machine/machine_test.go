package machine

import "testing"

func TestTheAcceleratorIsRecognized(t *testing.T) {
	for cpuinfo, want := range map[string]string{
		"model name : QEMU TCG CPU version 2.5+\nflags : fpu hypervisor": "tcg",
		"vendor_id : User Mode Linux\nmodel name : UML":                  "uml",
		"model name : Some CPU\nflags : fpu hypervisor avx":              "kvm",
		"model name : Some CPU\nflags : fpu avx":                         "none",
	} {
		if got := accelerator(cpuinfo); got != want {
			t.Errorf("%q: %s, want %s", cpuinfo, got, want)
		}
	}
}
