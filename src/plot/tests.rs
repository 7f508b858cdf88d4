use super::*;
use crate::{policy::Levels, replay::sample};

fn timeline() -> Timeline {
    let tracks = vec![
        sample("dog <&> \"cat\"", &[0.1, 0.2, 0.9, 0.8, 0.1], &[(2, Some(4))]),
        sample("fox", &[0.001, f32::MIN_POSITIVE, 0.0, 0.002, 0.001], &[]),
        sample("猫", &[0.7; 5], &[(0, None)]),
    ];
    Timeline { source: "door".to_owned(), model: "bundled".to_owned(), tracks }
}

#[test]
fn the_extension_selects_the_format() {
    for good in ["a.svg", "b/c.SVG", "d.html", "e.htm"] {
        assert!(good.parse::<File>().is_ok(), "{good}");
    }
    for bad in ["a", "a.png", "a.pdf", "svg", ""] {
        assert!(bad.parse::<File>().unwrap_err().contains(".svg or .html"), "{bad}");
    }
}

#[test]
fn an_svg_has_a_line_levels_spans_and_thumbnails_for_each_label() {
    let svg = chart::whole(&timeline()).file();
    assert!(
        svg.contains(
            "porch / dog &lt;&amp;&gt; &quot;cat&quot;: raised once; threshold 0.6, clear below 0.4"
        ),
        "{svg}"
    );
    assert!(svg.contains("porch / fox: raised 0 times"));
    // The machine of the test has a zone of its own.
    let at = |time: &str| crate::local_time::local(time.parse().unwrap());
    let (from, to) = (at("2027-01-15T08:00:00Z"), at("2027-01-15T08:00:04Z"));
    assert!(svg.contains(&format!("door: {} to {to}, bundled", &from[..19])), "{svg}");
    assert_eq!(svg.matches("fill=\"#ffe1a8\"").count(), 2, "spans");
    assert_eq!(svg.matches("stroke=\"#1f6fb4\"").count(), 3, "lines");
    assert_eq!(svg.matches("stroke-dasharray").count(), 6, "levels");
    assert_eq!(svg.matches("<image").count(), 2);
    assert_eq!(svg.matches('<').count(), svg.matches('>').count());
}

#[test]
fn a_page_needs_no_other_file_and_a_name_cannot_break_it() {
    let mut timeline = timeline();
    timeline.tracks[0].label = "</script><script>alert(1)".to_owned();
    let page = html::page(&timeline);
    assert!(!page.contains("</script><script>alert"), "{page}");
    assert_eq!(page.matches("<section").count(), 3);
    assert!(page.contains("href=\"#label-2\"") && page.contains("id=\"label-2\""));
    // The name of a namespace looks like an address, but is not loaded.
    let others = page.replace("http://www.w3.org/2000/svg", "");
    assert!(!others.contains("http://") && !others.contains("https://") && !others.contains("src=\"/"));
}

#[test]
fn a_long_day_is_drawn_in_a_limited_number_of_columns() {
    let scores = (0..100_000).map(|second| if second % 1000 == 0 { 0.9 } else { 0.1 });
    let track = sample("dog", &scores.collect::<Vec<f32>>(), &[]);
    let range = (track.points[0].time, track.points[99_999].time);
    let columns = chart::columns(&track, range);
    assert!((800..=901).contains(&columns.len()), "{}", columns.len());
    assert!(columns.iter().filter(|(_, _, high)| *high > 0.8).count() >= 95, "no peak is lost");
}

/// What the script draws.
fn data(page: &str, number: usize) -> serde_json::Value {
    let (_, rest) =
        page.split(&format!("id=\"{}\"", id(number))).nth(1).unwrap().split_once("json\">").unwrap();
    serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
}

#[test]
fn a_page_has_the_chart_as_data_and_scores_under_its_pictures() {
    let mut timeline = timeline();
    timeline.tracks[1].rise = Some(0.2);
    let track = &mut timeline.tracks[1];
    track.levels = None;
    let moving = |point: &crate::suggest::Point| {
        (point.time, Levels { threshold: 0.5 + point.score, clear_below: 0.4 })
    };
    track.moving = track.points[2..].iter().map(moving).collect();
    let page = html::page(&timeline);
    let (dog, fox) = (data(&page, 0), data(&page, 1));
    let from = 1_800_000_000_000_i64;
    assert_eq!(dog["time"], serde_json::json!([from, from + 1000, from + 2000, from + 3000, from + 4000]));
    assert_eq!(dog["score"], serde_json::json!([0.1, 0.2, 0.9, 0.8, 0.1]));
    assert_eq!(dog["spans"], serde_json::json!([[from + 2000, from + 4000]]));
    assert_eq!((&dog["threshold"], &dog["clear_below"]), (&0.6.into(), &0.4.into()));
    assert_eq!((&dog["top"], &dog["dated"]), (&1.0.into(), &true.into()));
    assert_eq!(fox["threshold"], serde_json::json!([null, null, 0.5, 0.502, 0.501]), "levels that move");
    assert!(page.contains("<span class=\"legend-threshold\">threshold 0.6</span>"));
    assert!(
        page.contains("threshold, 0.2 above the baseline")
            && page.contains("dog &lt;&amp;&gt; &quot;cat&quot;: raised once")
    );
    assert_eq!(page.matches("<span class=\"picture-score\">0.90</span>").count(), 1);
    assert_eq!(page.matches("data-time=\"1800000002000\"").count(), 1);
    assert_eq!(page.matches("<figure>").count(), page.matches("<img src=\"data:image/jpeg").count());
}

#[test]
fn a_chart_keeps_the_lowest_and_the_highest_scores() {
    let scores =
        (0..100_000).map(|second| if second % 1000 == 500 { 0.9 } else { 0.1 + (second % 7) as f32 * 0.01 });
    let track = sample("dog", &scores.collect::<Vec<f32>>(), &[]);
    let thinned = html::thinned(&track.points, 8000);
    assert!((4000..=8000).contains(&thinned.len()), "{}", thinned.len());
    assert_eq!(thinned.iter().filter(|point| point.score > 0.8).count(), 100, "no peak is lost");
    assert!(thinned.is_sorted_by_key(|point| point.time));
    assert_eq!(
        html::thinned(&track.points[..8000], 8000),
        track.points[..8000],
        "few frames are kept as they are"
    );
}

#[test]
fn a_plot_without_frames_says_so() {
    let nothing = Timeline { source: "door".to_owned(), model: "bundled".to_owned(), tracks: vec![] };
    assert!(chart::whole(&nothing).file().contains("door: no frames"));
    assert!(html::page(&nothing).contains("no frames"));
}

#[test]
fn moving_levels_are_drawn_as_curves() {
    let mut timeline = timeline();
    let track = &mut timeline.tracks[0];
    (track.levels, track.rise) = (None, Some(0.2));
    track.moving = track.points[1..]
        .iter()
        .zip([0.5, 0.6, 0.7, 0.7])
        .map(|(point, threshold)| (point.time, Levels { threshold, clear_below: threshold - 0.1 }))
        .collect();
    let svg = chart::whole(&timeline).file();
    assert!(svg.contains(": raised once; threshold 0.2 above the baseline"), "{svg}");
    let moves = |line: &&str| line.contains("stroke=\"#c62828\"") && line.matches(',').count() == 4;
    assert_eq!(svg.lines().filter(moves).count(), 1, "{svg}");
    assert_eq!(svg.matches("stroke-dasharray").count(), 6, "levels");
}
