//! Python's datetime.strftime for `strftime_now`. The moment comes from the caller; it has no time
//! zone, as datetime.now() has none.

/// A civil date and time.
#[derive(Clone, Copy)]
pub struct Moment {
    year: i64,
    month: usize, // 1 to 12
    day: i64,     // 1 to 31
    second_of_day: i64,
    days: i64, // since 1 January 1970, a Thursday
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

impl Moment {
    /// `seconds` since 1970-01-01 00:00 of the wall clock that is meant.
    pub fn from_seconds(seconds: i64) -> Self {
        let days = seconds.div_euclid(86_400);
        // Years from 1 March, in eras of 400 years = 146,097 days, so that leap days come last.
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * day_of_year + 2) / 153; // months have 153 days in five
        let day = day_of_year - (153 * from_march + 2) / 5 + 1;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Moment { year, month: month as usize, day, second_of_day: seconds.rem_euclid(86_400), days }
    }

    fn weekday(&self) -> usize {
        (self.days + 4).rem_euclid(7) as usize
    }

    fn day_of_year(&self) -> i64 {
        let leap = self.year % 4 == 0 && (self.year % 100 != 0 || self.year % 400 == 0);
        let lengths = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        lengths[..self.month - 1].iter().sum::<i64>() + self.day
    }

    /// The week of the year, of which the first begins with its first `weekday` (0: Sunday).
    fn week_from(&self, weekday: i64) -> i64 {
        let since = (self.weekday() as i64 - weekday).rem_euclid(7);
        (self.day_of_year() - 1 - since + 7).div_euclid(7)
    }

    /// The year and the week of ISO 8601: of the year its Thursday is in.
    fn iso_week(&self) -> (i64, i64) {
        let from_monday = (self.weekday() as i64 - 1).rem_euclid(7);
        let thursday = Moment::from_seconds((self.days - from_monday + 3) * 86_400);
        (thursday.year, (thursday.day_of_year() - 1) / 7 + 1)
    }

    /// The error names the directive that is not known.
    pub fn format(&self, format: &str) -> Result<String, String> {
        let mut out = String::new();
        let mut chars = format.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            let (mut directive, mut pad) = (chars.next(), true);
            if directive == Some('-') {
                (directive, pad) = (chars.next(), false); // glibc's flag: no padding
            }
            match directive {
                Some(directive) => out.push_str(&self.directive(directive, pad)?),
                None => {
                    return Err("strftime_now: the format ends in the middle of a directive".into())
                }
            }
        }
        Ok(out)
    }

    fn directive(&self, directive: char, pad: bool) -> Result<String, String> {
        let number = |value: i64, width: usize| match pad {
            true => format!("{value:0width$}"),
            false => value.to_string(),
        };
        let (hour, minute, second) =
            (self.second_of_day / 3_600, self.second_of_day / 60 % 60, self.second_of_day % 60);
        let hour_of_half = if hour % 12 == 0 { 12 } else { hour % 12 };
        let name = |names: &[&str], i: usize, size: usize| {
            names[i][..size.min(names[i].len())].to_string()
        };
        Ok(match directive {
            'Y' => self.year.to_string(),
            'y' => number(self.year.rem_euclid(100), 2),
            'm' => number(self.month as i64, 2),
            'd' => number(self.day, 2),
            'e' if pad => format!("{:2}", self.day),
            'e' => self.day.to_string(),
            'j' => number(self.day_of_year(), 3),
            'H' => number(hour, 2),
            'I' => number(hour_of_half, 2),
            'M' => number(minute, 2),
            'S' => number(second, 2),
            'f' => "000000".to_string(),
            'p' => if hour < 12 { "AM" } else { "PM" }.to_string(),
            'a' => name(&WEEKDAYS, self.weekday(), 3),
            'A' => name(&WEEKDAYS, self.weekday(), usize::MAX),
            'w' => self.weekday().to_string(),
            'u' => if self.weekday() == 0 { 7 } else { self.weekday() }.to_string(),
            'b' | 'h' => name(&MONTHS, self.month - 1, 3),
            'B' => name(&MONTHS, self.month - 1, usize::MAX),
            'z' | 'Z' => String::new(),
            'U' => number(self.week_from(0), 2),
            'W' => number(self.week_from(1), 2),
            'V' => number(self.iso_week().1, 2),
            'G' => self.iso_week().0.to_string(),
            'g' => number(self.iso_week().0.rem_euclid(100), 2),
            'C' => number(self.year.div_euclid(100), 2),
            'k' if pad => format!("{hour:2}"),
            'k' => hour.to_string(),
            'l' if pad => format!("{hour_of_half:2}"),
            'l' => hour_of_half.to_string(),
            'P' => if hour < 12 { "am" } else { "pm" }.to_string(),
            'r' => self.format("%I:%M:%S %p")?,
            'F' => self.format("%Y-%m-%d")?,
            'T' | 'X' => self.format("%H:%M:%S")?,
            'R' => self.format("%H:%M")?,
            'D' | 'x' => self.format("%m/%d/%y")?,
            'c' => self.format("%a %b %e %H:%M:%S %Y")?,
            'n' => "\n".to_string(),
            't' => "\t".to_string(),
            '%' => "%".to_string(),
            other => return Err(format!("strftime_now: the directive %{other} is not known here")),
        })
    }
}
