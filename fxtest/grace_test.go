package fxtest

import (
	"testing"
	"time"
)

func TestGrace_IsNotOverWhenTheMachineHasStoodStill(t *testing.T) {
	t.Parallel()
	now := time.Now()
	g := newGrace(now, 3)
	if g.over(now) || g.over(now.Add(time.Hour)) {
		t.Error("it is over before anyone has looked three times")
	}
	if !g.over(now.Add(time.Hour)) {
		t.Error("it goes on after its time and its looks")
	}
	g = newGrace(now, 3)
	for range 100 {
		if g.over(now.Add(time.Millisecond)) {
			t.Fatal("it is over before its time")
		}
	}
}
